# SPDX-License-Identifier: Apache-2.0
"""
Charts are the same in every run, stand alone, and hold whatever text comes from outside.

"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from anomaly_inspection.chart_style import readable, require_matplotlib, svg_chart
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.charts import roc, RocCurve, score_histogram, share_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = '{http://www.w3.org/2000/svg}'
GOOD_SCORES, DEFECT_SCORES = np.array([0.1, 0.4, 0.7]), np.array([0.8, 3.0, np.inf])
EVERY_MODULE_OF_INSPECTION = (
    'import pkgutil, importlib, sys, anomaly_inspection as package\n'
    # It takes seconds to load, and what trains needs no watching.
    'sys.modules["tensorflow"] = None\n'
    'for module in pkgutil.walk_packages(package.__path__, "anomaly_inspection."):\n'
    # Alembic runs the migrations, nothing imports them.
    '    if module.name.endswith("__main__") or ".migrations." in module.name:\n'
    '        continue\n'
    '    try:\n'
    '        importlib.import_module(module.name)\n'
    '    except ImportError as error:\n'
    '        assert "matplotlib" not in str(error), error\n'
    'assert "matplotlib" not in sys.modules\n'
    'from anomaly_inspection.evaluation.charts import share_map\n'
    'share_map("x", ["1"], ["2"], [[(1.0, 0.5, 1.0)]], ("a", "b"))\n'
    'assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules\n'
)


def texts(svg: str) -> list[str]:
    return [''.join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f'{SVG}text')]


def one_line(label: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1, 2], [1, 3, 2])
        axes.set_title(readable(label))

    return svg_chart(draw, width_px=300, height_px=200, label=label)


def test_the_same_input_gives_the_same_text() -> None:
    first = one_line('a')
    assert one_line('a') == first
    assert one_line('b') != first


def test_the_users_own_matplotlib_settings_change_nothing() -> None:
    first = one_line('a')
    with matplotlib.rc_context({'text.usetex': True, 'font.size': 30, 'svg.fonttype': 'path'}):
        assert one_line('a') == first
        assert matplotlib.rcParams['font.size'] == 30


@pytest.mark.parametrize(
    ('label', 'shown'),
    [
        ('<b>&"\'--><script>', '<b>&"\'--><script>'),
        ('$x_1$ $$ \\frac', '$x_1$ $$ \\frac'),
        ('two\nlines\x00\x1b\udcff', 'two\\nlines\\x00\\x1b\ufffd'),
        ('螺栓 ۃ', '螺栓 ۃ'),
        ('x' * 500, 'x' * 59 + '…'),
    ],
)
def test_text_from_outside_is_shown_as_text(label: str, shown: str) -> None:
    drawn = one_line(label)
    assert shown in texts(drawn)
    assert '<script' not in drawn


def test_recipe_names_and_titles_are_text_in_our_charts() -> None:
    scores = np.concatenate([GOOD_SCORES, DEFECT_SCORES])
    is_defect = np.repeat([False, True], 3)
    curves = [RocCurve(name, scores, (0.0, 0.7)) for name in ('<i>$a$\n', 'b')]
    assert '<i>$a$\\n' in texts(roc(is_defect, curves))
    assert '<i>&' in texts(share_map('<i>&', ['1'], ['2'], [[None]], ('a', 'b')))


def test_long_paths_stay_apart_in_the_legend() -> None:
    scores = np.concatenate([GOOD_SCORES, DEFECT_SCORES])
    names = [f'/srv/inspection/hall_3/line_7/recipes/pump_{number}' for number in (1, 2)]
    curves = [RocCurve(name, scores, (0.0, 0.7)) for name in names]
    shown = texts(roc(np.repeat([False, True], 3), curves))
    assert {'…line_7/recipes/pump_1', '…line_7/recipes/pump_2'} <= {
        '…' + text[text.index('line_7') :] for text in shown if 'line_7' in text
    }


def test_charts_on_one_page_do_not_mix() -> None:
    charts = [one_line('a'), one_line('b'), score_histogram(GOOD_SCORES, DEFECT_SCORES)]
    shape_by_id: dict[str, str] = {}
    for chart in charts:
        assert 'http://' not in chart.replace('xmlns="http://www.w3.org/2000/svg"', '')
        root = ElementTree.fromstring(chart)
        assert not list(root.iter(f'{SVG}style'))
        for element in root.iter():
            name = element.attrib.pop('id', None)
            shape = ElementTree.tostring(element, encoding='unicode')
            if name is not None:
                # Equal names are no harm where they name equal shapes.
                assert shape_by_id.setdefault(name, shape) == shape
    for name in re.findall(r'#([\w-]+)\)', ''.join(charts)):
        assert name in shape_by_id


def test_the_histogram_counts_both_classes_and_what_was_not_judged() -> None:
    shown = texts(score_histogram(GOOD_SCORES, DEFECT_SCORES))
    assert {'good (3)', 'defective (3)', 'limit', 'not judged'} <= set(shown)
    assert 'not judged' not in texts(score_histogram(GOOD_SCORES, GOOD_SCORES))
    assert 'good (0)' in texts(score_histogram(np.array([]), np.array([])))


def test_without_matplotlib_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    for draw in (require_matplotlib, lambda: one_line('a')):
        with pytest.raises(SettingError, match=r'charts need Matplotlib .*pip install matplotlib'):
            draw()


def test_matplotlib_is_loaded_when_a_chart_is_drawn_and_pyplot_never() -> None:
    done = subprocess.run(
        [sys.executable, '-c', EVERY_MODULE_OF_INSPECTION], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
