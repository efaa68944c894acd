# SPDX-License-Identifier: Apache-2.0
"""
The layouts for rqt, RViz and Foxglove show topics that the cell publishes, with their types.

docs/interfaces.md is the list; `test_interfaces.py` holds it against the nodes.

"""

import ast
from dataclasses import dataclass
import json
import re

import pytest
import yaml

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection import msg
from anomaly_inspection.nodes.cell import NAMESPACE
from support.paths import ROOT

IMAGE = 'sensor_msgs/Image'
IMAGES = {IMAGE, 'sensor_msgs/CompressedImage'}
DIAGNOSTICS = {'diagnostic_msgs/DiagnosticArray'}
# What rviz_default_plugins/Image saves; a property of another name would be ignored silently.
RVIZ_IMAGE = {
    *('Class', 'Name', 'Enabled', 'Value', 'Topic'),
    *('Normalize Range', 'Min Value', 'Max Value', 'Median window'),
}
RVIZ_TOPIC = {'Value', 'Depth', 'History Policy', 'Reliability Policy', 'Durability Policy'}


@dataclass(frozen=True)
class Offered:
    kind: str
    quality: str
    publishers: str


@pytest.fixture(scope='module')
def offered():
    """
    Give the topics of docs/interfaces.md by their full name.

    """
    text = (ROOT / 'docs' / 'interfaces.md').read_text(encoding='utf-8')
    table = re.search(r'<!-- topics -->\n(.*?)<!-- end -->', text, re.DOTALL)[1]
    topics = {}
    for line in table.splitlines()[2:]:
        name, kind, quality, publishers = (cell.strip() for cell in line.split('|')[1:5])
        name = name.strip('`')
        full_name = name if name.startswith('/') else f'/{NAMESPACE}/{name}'
        topics[full_name] = Offered(kind, quality, publishers)
    assert len(topics) > 20
    return topics


def check_topic(offered, topic, kinds):
    assert topic in offered, f'no node has {topic}'
    assert offered[topic].kind in kinds, f'{topic} is {offered[topic].kind}'
    assert offered[topic].publishers != 'you', f'no node publishes {topic}'


def check_field(offered, topic, field):
    package, name = offered[topic].kind.split('/')
    assert package == 'anomaly_inspection'
    assert field in getattr(msg, name).get_fields_and_field_types(), f'{topic} has no {field}'


# rqt


@pytest.fixture(scope='module')
def perspective():
    return json.loads((ROOT / 'config' / 'live_view.perspective').read_text(encoding='utf-8'))


def settings_of(perspective, plugin):
    manager = perspective['groups']['pluginmanager']
    group = manager['groups'][f'plugin__{plugin.replace("/", "__")}__1']
    keys = group['groups']['plugin']['keys']
    return {key: ast.literal_eval(value['repr']) for key, value in keys.items()}


def test_rqt_opens_the_plugins_that_it_has_settings_for(perspective):
    manager = perspective['groups']['pluginmanager']
    running = ast.literal_eval(manager['keys']['running-plugins']['repr'])
    assert set(running) == {
        *('rqt_image_view/ImageView', 'rqt_plot/Plot', 'rqt_runtime_monitor/RuntimeMonitor')
    }
    named = {f'plugin__{plugin.replace("/", "__")}__1' for plugin in running}
    assert set(manager['groups']) == named


def test_rqt_shows_the_overlay(perspective, offered):
    # The plug-in takes the topic of raw images; a compressed one needs a transport beside it.
    check_topic(offered, settings_of(perspective, 'rqt_image_view/ImageView')['topic'], {IMAGE})


def test_rqt_plots_a_number_that_the_cell_publishes(perspective, offered):
    topic, _, field = settings_of(perspective, 'rqt_plot/Plot')['topics'].rpartition('/')
    check_topic(offered, topic, {'anomaly_inspection/Decision'})
    check_field(offered, topic, field)


def test_rqt_restores_its_window_on_a_usual_screen(perspective):
    text = perspective['groups']['mainwindow']['keys']['geometry']['repr(QByteArray.hex)']
    geometry = bytes.fromhex(re.search(r"b'([0-9a-f]+)'", text)[1])
    # Qt ignores a geometry that was saved on a screen of a very different width. After the magic
    # number and the version come two rectangles, a screen number and two flags.
    assert int.from_bytes(geometry[46:50], 'big') == 1920


# RViz


@pytest.fixture(scope='module')
def rviz():
    return yaml.safe_load((ROOT / 'config' / 'live_view.rviz').read_text(encoding='utf-8'))


def test_rviz_shows_pictures_that_the_cell_publishes(rviz, offered):
    displays = rviz['Visualization Manager']['Displays']
    assert {display['Name'] for display in displays} == {'Overlay', 'Anomaly map', 'Camera'}
    for display in displays:
        assert display['Class'] == 'rviz_default_plugins/Image'
        assert set(display) <= RVIZ_IMAGE
        assert display['Enabled'] is True
        topic = display['Topic']
        assert set(topic) == RVIZ_TOPIC
        check_topic(offered, topic['Value'], {IMAGE})
        # Another subscriber of a publisher that is reliable and not latched would hear nothing.
        assert offered[topic['Value']].quality.startswith('reliable')
        assert topic['Reliability Policy'] in ('Best Effort', 'Reliable')
        assert topic['Durability Policy'] == 'Volatile'
        assert topic['History Policy'] == 'Keep Last'


def test_the_window_of_rviz_has_a_place_for_every_picture(rviz):
    geometry = rviz['Window Geometry']
    state = bytes.fromhex(geometry['QMainWindow State']).decode('utf-16-be', errors='ignore')
    state += bytes.fromhex('00' + geometry['QMainWindow State']).decode(
        'utf-16-be', errors='ignore'
    )
    for display in rviz['Visualization Manager']['Displays']:
        assert display['Name'] in geometry
        assert display['Name'] in state


# Foxglove and Lichtblick


@pytest.fixture(scope='module')
def foxglove():
    file = ROOT / 'config' / 'live_view.foxglove.json'
    return json.loads(file.read_text(encoding='utf-8'))


def panels_in(layout):
    """
    Give the names in a layout: a panel, or two halves.

    """
    if isinstance(layout, str):
        return [layout]
    return panels_in(layout['first']) + panels_in(layout['second'])


def test_foxglove_opens_every_panel_once(foxglove):
    opened = panels_in(foxglove['layout'])
    for name, panel in foxglove['configById'].items():
        if name.startswith('Tab!'):
            opened += [shown for tab in panel['tabs'] for shown in panels_in(tab['layout'])]
    assert sorted(opened) == sorted(foxglove['configById'])


def test_foxglove_shows_topics_and_fields_that_the_cell_publishes(foxglove, offered):
    ours = {kind.kind for kind in offered.values() if kind.kind.startswith('anomaly_inspection/')}
    for name, panel in foxglove['configById'].items():
        match name.partition('!')[0]:
            case 'Image':
                check_topic(offered, panel['imageMode']['imageTopic'], IMAGES)
            case 'RawMessages':
                check_topic(offered, panel['topicPath'], ours)
            case 'DiagnosticSummary':
                check_topic(offered, panel['topicToRender'], DIAGNOSTICS)
            case 'Indicator':
                topic, _, field = panel['path'].partition('.')
                check_topic(offered, topic, ours)
                check_field(offered, topic, field)
            case 'Plot':
                for path in panel['paths']:
                    if path['value'].startswith('/'):
                        topic, _, field = path['value'].partition('.')
                        check_topic(offered, topic, ours)
                        check_field(offered, topic, field)
            case 'Tab':
                pass
            case kind:
                pytest.fail(f'{kind} is no panel that Foxglove and Lichtblick both have')


def test_foxglove_takes_pass_for_pass(foxglove):
    rules = foxglove['configById']['Indicator!verdict']['rules']
    assert {rule['label']: int(rule['rawValue']) for rule in rules} == {
        'PASS': msg.Decision.VERDICT_PASS,
        'REJECT': msg.Decision.VERDICT_REJECT,
    }


def test_both_programs_find_the_title_of_a_panel(foxglove):
    for panel in foxglove['configById'].values():
        assert panel.get('foxglovePanelTitle') == panel.get('lichtblickPanelTitle')
