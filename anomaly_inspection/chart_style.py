# SPDX-License-Identifier: Apache-2.0
"""
The look of all charts: one style, drawn by Matplotlib as SVG that is the same in every run, or as
PNG.

Matplotlib is imported when a chart is drawn, not before: a cell that inspects never needs it.

"""

from __future__ import annotations

from contextlib import contextmanager
import io
import re
from typing import Any, TYPE_CHECKING
import warnings
from xml.etree import ElementTree

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Good and defective parts; ours and the baselines in the benchmarks.
GOOD, DEFECT = '#2f6fab', '#d1622b'
#: Further series, neither GOOD nor DEFECT. All seven stay apart (CIEDE2000 of 16 and more) for
#: people with deuteranopia, protanopia or tritanopia.
COLOURS = ('#004d1a', '#8f8ffa', '#6c2448', '#b39292', '#0a0aae')
#: Lines of series that have to use a colour again.
DASHES = ('-', (0, (4, 1.5)), (0, (1, 1.2)))
INK, TEXT, GRID = '#1d1f23', '#5c636e', '#e3e6ea'

_SVG, _XLINK = 'http://www.w3.org/2000/svg', '{http://www.w3.org/1999/xlink}'
_FONT = 'DejaVu Sans'
_FONTS_IN_PAGE = f"system-ui, 'Segoe UI', 'Helvetica Neue', '{_FONT}', sans-serif"
_LONG_NUMBER = re.compile(r'(\.\d\d)\d+')
# Of Any, for Matplotlib's own types list every key.
_STYLE: dict[Any, Any] = {
    'axes.axisbelow': True,
    'axes.edgecolor': GRID,
    'axes.grid': True,
    'axes.labelcolor': TEXT,
    'axes.labelsize': 12,
    'axes.linewidth': 1,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlecolor': INK,
    'axes.titlelocation': 'left',
    'axes.titlesize': 13,
    'axes.titleweight': 'bold',
    'axes.unicode_minus': True,
    'figure.constrained_layout.h_pad': 0.08,
    'figure.constrained_layout.hspace': 0.04,
    'figure.constrained_layout.w_pad': 0.11,
    'figure.constrained_layout.wspace': 0.03,
    'figure.constrained_layout.use': True,
    'figure.titlesize': 15,
    'figure.titleweight': 'bold',
    'font.family': _FONT,
    'font.size': 12,
    'grid.color': GRID,
    'grid.linewidth': 1,
    'legend.borderaxespad': 0.6,
    'legend.edgecolor': 'none',
    'legend.facecolor': 'white',
    'legend.fontsize': 12,
    'legend.framealpha': 0.9,
    'legend.handlelength': 1.4,
    'lines.linewidth': 2,
    'lines.solid_joinstyle': 'round',
    # Text stays text: it can be searched, copied and read aloud.
    'svg.fonttype': 'none',
    'svg.hashsalt': 'anomaly_inspection',
    'text.color': INK,
    # A file named `$x_1$` is no formula.
    'text.parse_math': False,
    'xtick.color': GRID,
    'xtick.labelcolor': TEXT,
    'xtick.labelsize': 11,
    'xtick.major.pad': 6,
    'xtick.major.size': 0,
    'xtick.minor.size': 0,
    'ytick.color': GRID,
    'ytick.labelcolor': TEXT,
    'ytick.labelsize': 11,
    'ytick.major.pad': 6,
    'ytick.major.size': 0,
    'ytick.minor.size': 0,
}


def require_matplotlib() -> None:
    """
    Make sure that charts can be drawn, before work begins that ends in one.

    Raises
    ------
    SettingError
        When Matplotlib is not installed; says how to install it.

    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f'charts need Matplotlib ({error}): pip install matplotlib, or on Ubuntu and Debian '
            'sudo apt install python3-matplotlib'
        ) from error


def svg_chart(
    draw: Callable[[Figure], None], *, width_px: float, height_px: float, label: str
) -> str:
    """
    Draw a chart in the style of the house.

    Parameters
    ----------
    draw : callable
        Gets the empty figure and draws on it. One unit of a font or line is one pixel.
    width_px, height_px : float
        Size of the chart; in a page it scales with its column.
    label : str
        What the chart shows, for people who cannot see it.

    Returns
    -------
    str
        An `<svg>` element to be put into a page or written to a file. The same input gives the
        same text.

    Raises
    ------
    SettingError
        When Matplotlib is not installed.

    """
    require_matplotlib()
    from matplotlib.figure import Figure

    with _style_of_the_house():
        figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72)
        draw(figure)
        written = io.StringIO()
        figure.savefig(written, format='svg', metadata={'Date': None})
    return _for_a_page(written.getvalue(), width_px, height_px, label)


def png_chart(draw: Callable[[Figure], None], *, width_px: float, height_px: float) -> bytes:
    """
    Draw a chart in the style of the house as a picture, for readers that show no SVG.

    Parameters
    ----------
    draw : callable
        As in `svg_chart`.
    width_px, height_px : float
        Size of the chart; the picture has twice as many pixels, to be sharp on any screen.

    Raises
    ------
    SettingError
        When Matplotlib is not installed.

    """
    require_matplotlib()
    from matplotlib.figure import Figure

    with _style_of_the_house():
        figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72)
        draw(figure)
        written = io.BytesIO()
        figure.savefig(written, format='png', dpi=144, facecolor='white')
    return written.getvalue()


def readable(text: str, *, most: int = 60, keep_end: bool = False) -> str:
    """
    Give text from outside, such as a file name, as one line that fits into a chart.

    XML cannot hold control characters; `printable` escapes them.

    Parameters
    ----------
    text : str
        Anything.
    most : int
        Longer text is cut off, with an ellipsis.
    keep_end : bool
        Cut off the beginning: paths differ at their end.

    """
    shown = printable(text)
    if len(shown) <= most:
        return shown
    return f'…{shown[1 - most :]}' if keep_end else f'{shown[: most - 1]}…'


def colour_of(place: int) -> str:
    """
    Give the colour of a series; the sixth has the first one's again, see `dashes_of`.

    """
    return COLOURS[place % len(COLOURS)]


def dashes_of(place: int) -> str | tuple[float, tuple[float, ...]]:
    """
    Give the line style of a series: solid for the first round of colours, then dashed.

    """
    return DASHES[place // len(COLOURS) % len(DASHES)]


def without_frame(axes: Axes, *, grid: str = '') -> None:
    """
    Take away the lines around the axes, and the grid except along the axis named.

    Parameters
    ----------
    axes : Axes
        To be changed.
    grid : str
        `x`, `y`, `both`, or '' for none.

    """
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    if grid:
        axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]


@contextmanager
def _style_of_the_house() -> Iterator[None]:
    """
    Use our style alone, whatever the user's own Matplotlib settings say.

    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A class may be named in a script that the font lacks; the browser has it.
        warnings.filterwarnings('ignore', message='Glyph .* missing from', category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _for_a_page(svg: str, width_px: float, height_px: float, label: str) -> str:
    """
    Make what Matplotlib wrote small, and fit for a page with other charts in it.

    """
    for prefix, address in (('', _SVG), ('xlink', _XLINK.strip('{}'))):
        ElementTree.register_namespace(prefix, address)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            # A style sheet would hold for the whole page.
            if child.tag in (f'{{{_SVG}}}metadata', f'{{{_SVG}}}style'):
                parent.remove(child)
    text = ElementTree.tostring(root, encoding='unicode')
    used = set(re.findall(r'#([\w.-]+)', text))
    for element in root.iter():
        # Two charts on a page would have the same `axes_1`.
        if element.get('id') not in used:
            element.attrib.pop('id', None)
        if (target := element.attrib.pop(f'{_XLINK}href', None)) is not None:
            element.set('href', target)
        for name in ('d', 'x', 'y', 'transform'):
            if (value := element.get(name)) is not None:
                element.set(name, _LONG_NUMBER.sub(r'\1', ' '.join(value.split())))
        if (style := element.get('style')) is not None:
            element.set('style', style.replace(f"'{_FONT}'", _FONTS_IN_PAGE))
        if element.tag != f'{{{_SVG}}}text':
            element.text = None
        element.tail = None
    root.attrib.clear()
    for name, value in (
        ('viewBox', f'0 0 {width_px:g} {height_px:g}'),
        ('width', f'{width_px:g}'),
        ('height', f'{height_px:g}'),
        ('role', 'img'),
        ('aria-label', readable(label, most=200)),
        ('class', 'chart'),
        ('stroke-linejoin', 'round'),
    ):
        root.set(name, value)
    return ElementTree.tostring(root, encoding='unicode')
