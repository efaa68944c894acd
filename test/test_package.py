# SPDX-License-Identifier: Apache-2.0
"""
The package as it is described, built and installed.

"""

from __future__ import annotations

import ast
from pathlib import Path
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import anomaly_inspection
from anomaly_inspection.scoring import one_pass

ROOT = Path(__file__).resolve().parents[1]
PACKAGE_XML = ElementTree.parse(ROOT / 'package.xml').getroot()
INTERFACES = sorted(
    path for kind in ('msg', 'srv', 'action') for path in ROOT.glob(f'{kind}/*.{kind}')
)
SOURCES = sorted((ROOT / 'anomaly_inspection').rglob('*.py'))
EXECUTABLES = (
    *('camera_node', 'part_detector_node', 'scorer_node', 'decider_node', 'sorter_node'),
    *('viewer_node', 'threshold_bridge_node', 'teacher_node', 'panel_node', 'recorder_node'),
    *('mqtt_bridge_node', 'opcua_server_node', 'drift_watch_node', 'inspector_node'),
    'view_joiner_node',
    *('simulated_belt_node', 'simulated_arm_node', 'cell', 'cell_ready'),
)

# Where the module is not called as its rosdep key or its name on PyPI.
ROSDEP_KEYS = {
    'click': 'python3-click',
    'cv2': 'python3-opencv',
    'matplotlib': 'python3-matplotlib',
    'numpy': 'python3-numpy',
    'paho': 'python3-paho-mqtt',
    'rich': 'python3-rich',
    'scipy': 'python3-scipy',
    'sklearn': 'python3-sklearn',
    'pymodbus': 'python3-pymodbus',
    'serial': 'python3-serial',
    'yaml': 'python3-yaml',
}
PYPI_NAMES = {
    'cv2': 'opencv-python-headless',
    'serial': 'pyserial',
    'sklearn': 'scikit-learn',
    'yaml': 'pyyaml',
}
# No key that rosdep can install everywhere. Networks need openvino and say so; nothing else does.
# threadpoolctl comes with scikit-learn, from rosdep as well.
FROM_PIP_ONLY = {'openvino', 'threadpoolctl'}
# From rosdep with ROS, and with pip an extra (`[mqtt]`).
EXTRAS_FROM_ROSDEP = {'paho'}
# The same, and only to train (`[train]`), for the operator's page (`[panel]` and what it needs) or
# for records (`[records]`).
EXTRAS = {
    *('tensorflow', 'keras', 'optuna', 'sqlalchemy'),
    # `google.protobuf`, for Sparkplug B (`[sparkplug]`).
    'google',
    # For the OPC UA server (`[opcua]`).
    *('asyncua', 'cryptography'),
    *('alembic', 'mcap_ros2', 'pyarrow'),
    *('nicegui', 'fastapi', 'starlette', 'uvicorn', 'argon2', 'jinja2', 'pydantic'),
}


def installed_prefix() -> Path:
    try:
        from ament_index_python.packages import get_package_prefix, PackageNotFoundError
    except ImportError as error:
        pytest.skip(f'ROS 2 is not at hand: {error}')
    try:
        return Path(get_package_prefix('anomaly_inspection'))
    except PackageNotFoundError as error:
        pytest.skip(f'the package is not built: {error}')


# --------------------------------------------------------------------------------- description


def test_versions_agree() -> None:
    changelog = (ROOT / 'CHANGELOG.rst').read_text(encoding='utf-8')
    newest = re.search(r'^(?:Forthcoming|(\d+\.\d+\.\d+) \(.+\))\n-+$', changelog, re.MULTILINE)
    assert PACKAGE_XML.findtext('version') == anomaly_inspection.__version__
    assert newest
    assert newest[1] in (None, anomaly_inspection.__version__)


def test_the_built_package_has_the_functions_in_c_and_takes_them() -> None:
    assert list(installed_prefix().rglob('libone_pass.so'))
    assert one_pass.is_built()


def test_the_built_package_has_the_version_of_the_sources() -> None:
    share = installed_prefix() / 'share' / 'anomaly_inspection'
    installed = ElementTree.parse(share / 'package.xml').getroot()
    assert installed.findtext('version') == anomaly_inspection.__version__


def test_package_xml_says_what_colcon_and_rosdep_need() -> None:
    assert PACKAGE_XML.get('format') == '3'
    assert PACKAGE_XML.findtext('name') == 'anomaly_inspection'
    assert PACKAGE_XML.findtext('export/build_type') == 'ament_cmake'
    assert PACKAGE_XML.findtext('member_of_group') == 'rosidl_interface_packages'
    assert PACKAGE_XML.findtext('license') == 'Apache-2.0'
    assert (ROOT / 'LICENSE').read_text(encoding='utf-8').split()[:2] == ['Apache', 'License']
    for maintainer in PACKAGE_XML.findall('maintainer'):
        assert re.fullmatch(r'[\w.+-]+@[\w-]+(\.[\w-]+)+', maintainer.get('email', ''))


def test_package_xml_invents_no_address() -> None:
    assert PACKAGE_XML.findall('url') == []
    for maintainer in PACKAGE_XML.findall('maintainer'):
        # RFC 2606: nothing under .invalid is ever delivered.
        assert maintainer.get('email', '').endswith('.invalid')


def test_colcon_test_runs_the_tests() -> None:
    build = (ROOT / 'CMakeLists.txt').read_text(encoding='utf-8')
    assert re.search(
        r'if\(BUILD_TESTING\).*ament_add_pytest_test\(pytest test\b', build, re.DOTALL
    )
    assert 'ament_cmake_pytest' in {element.text for element in PACKAGE_XML.findall('test_depend')}


def test_no_dependency_is_named_twice() -> None:
    for kinds in (('depend', 'exec_depend'), ('depend', 'build_depend'), ('test_depend',)):
        keys = [element.text for kind in kinds for element in PACKAGE_XML.findall(kind)]
        assert len(keys) == len(set(keys))


def third_party_imports() -> set[str]:
    modules = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add((node.module or '').split('.')[0])
    # The charts are about to be drawn with it.
    modules.add('matplotlib')
    return modules - sys.stdlib_module_names - {'anomaly_inspection'} - EXTRAS


def test_what_is_imported_stands_in_package_xml_and_the_other_way_round() -> None:
    imported = {ROSDEP_KEYS.get(module, module) for module in third_party_imports()}
    from_launch_files = {'launch', 'launch_ros'}
    at_build_time = {'action_msgs', 'builtin_interfaces', 'std_msgs', 'rosidl_default_runtime'}
    named = {
        element.text for kind in ('depend', 'exec_depend') for element in PACKAGE_XML.findall(kind)
    }
    imported -= FROM_PIP_ONLY
    # Records are optional for pip; where there is ROS, rosdep installs what they need.
    of_records = {'python3-alembic', 'python3-jinja2', 'python3-sqlalchemy'}
    assert imported | of_records <= named
    assert named <= imported | from_launch_files | at_build_time | of_records


def names_of(requirements: str) -> dict[str, str]:
    lines = (line.strip() for line in requirements.splitlines())
    pairs = (re.split('[=>]=', line) for line in lines if line and not line.startswith('#'))
    return {pair[0]: pair[1] for pair in pairs}


def test_pip_requirements_name_what_is_imported_without_ros() -> None:
    import configparser

    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    lowest = names_of(parser['options']['install_requires'])
    pinned = names_of((ROOT / 'requirements' / 'runtime.txt').read_text(encoding='utf-8'))
    without_ros = third_party_imports() & {*ROSDEP_KEYS, *FROM_PIP_ONLY} - EXTRAS_FROM_ROSDEP
    imported = {PYPI_NAMES.get(key, key) for key in without_ros}
    assert set(lowest) == set(pinned) == imported
    assert 'opencv-python' not in lowest, 'it needs the X libraries of a desktop'


# ---------------------------------------------------------------------------------- interfaces


def fields_without_comment(text: str) -> list[str]:
    """
    Fields that neither follow a comment nor share one with the fields directly above.

    """
    bare = []
    is_covered = False
    for line in text.splitlines():
        if line.startswith('#'):
            is_covered = True
        elif not line.strip() or line == '---':
            is_covered = False
        elif '=' not in line and not is_covered:
            bare.append(line.split()[1])
    # std_msgs/Header says what it is.
    return [name for name in bare if name != 'header']


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_interface_says_what_it_is_for_and_every_field_what_it_means(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    assert re.match(r'(# .+\n)+\n', text), 'opens with what it is for, then an empty line'
    assert fields_without_comment(text) == []


def test_a_field_without_a_comment_is_found() -> None:
    assert fields_without_comment(
        '# For this.\n\nstring a\n# Of a thing.\nuint8 b\nuint8 c\n'
    ) == ['a']


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_enumerations_begin_with_unknown_and_are_never_renumbered(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    constants = re.findall(r'^(uint8) ([A-Z][A-Z0-9_]*)=(\d+)$', text, re.MULTILINE)
    fields = re.findall(r'^uint8 ([a-z][a-z0-9_]*)(?: \d+)?$', text, re.MULTILINE)
    for field in fields:
        prefix = field.upper() + '_'
        values = [(name, int(value)) for _, name, value in constants if name.startswith(prefix)]
        if values:
            assert values[0] == (prefix + 'UNKNOWN', 0)
            assert [value for _, value in values] == list(range(len(values)))
    prefixes = tuple(field.upper() + '_' for field in fields)
    assert all(name.startswith(prefixes) for _, name, _ in constants)


@pytest.mark.ros
@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_interface_is_built(path: Path) -> None:
    from importlib import import_module

    assert hasattr(import_module(f'anomaly_inspection.{path.parent.name}'), path.stem)


# ------------------------------------------------------------------------------- installation


@pytest.mark.ros
@pytest.mark.parametrize('name', EXECUTABLES)
def test_the_node_is_installed_and_its_main_is_there(name: str) -> None:
    from importlib import import_module

    program = installed_prefix() / 'lib' / 'anomaly_inspection' / name
    assert program.stat().st_mode & 0o111
    assert f'anomaly_inspection.nodes.{name} import main' in program.read_text(encoding='utf-8')
    assert callable(import_module(f'anomaly_inspection.nodes.{name}').main)


@pytest.mark.ros
def test_launch_files_and_configuration_are_installed() -> None:
    share = installed_prefix() / 'share' / 'anomaly_inspection'
    for folder in ('launch', 'config'):
        expected = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert expected
        assert expected <= {path.name for path in (share / folder).iterdir()}


@pytest.mark.ros
def test_the_installed_command_runs() -> None:
    program = installed_prefix() / 'bin' / 'anomaly-inspection'
    answer = subprocess.run([program, '--version'], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert anomaly_inspection.__version__ in answer.stdout


def test_the_command_works_where_there_is_no_ros() -> None:
    hide_ros = (
        'import sys; sys.modules.update(dict.fromkeys(["rclpy", "ament_index_python"]));'
        'import anomaly_inspection.cli as cli; cli.main(["--help"])'
    )
    answer = subprocess.run(
        [sys.executable, '-c', hide_ros], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert 'teach' in answer.stdout


def test_wheel_holds_python_and_the_files_of_the_page_alone(tmp_path: Path) -> None:
    """
    What `pip install .` packages has the command and no message, launch file or built library.

    """
    pytest.importorskip('setuptools')
    build = subprocess.run(
        [sys.executable, 'setup.py', '--quiet', 'build', '--build-base', tmp_path / 'build',
         'egg_info', '--egg-base', tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    packaged = tmp_path / 'build' / 'lib' / 'anomaly_inspection'
    files = {path.relative_to(packaged) for path in packaged.rglob('*') if path.is_file()}
    panel = ROOT / 'anomaly_inspection' / 'panel'
    of_page = [
        path
        for folder in ('assets', 'languages')
        for path in (panel / folder).rglob('*')
        if path.is_file()
    ]
    assert len(of_page) > 4
    assert files == {path.relative_to(panel.parent) for path in (*SOURCES, *of_page)}
    entry_points = (tmp_path / 'anomaly_inspection.egg-info' / 'entry_points.txt').read_text()
    assert 'anomaly-inspection = anomaly_inspection.cli:main' in entry_points
