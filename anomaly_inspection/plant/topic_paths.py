# SPDX-License-Identifier: Apache-2.0
"""
Topics of the plant: the levels of ISA-95 from the site to the cell, then what is told.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.errors import SettingError

_MOST_LETTERS = 64
_FORBIDDEN = {'+': "'+'", '#': "'#'", '/': "'/'", '\0': 'NUL'}


def check_topic_name(setting: str, name: str) -> str:
    """
    Check one level of a topic.

    Parameters
    ----------
    setting : str
        Name of the setting, for the message.
    name : str
        The level.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    SettingError
        When it is empty or longer than 64 letters, holds a character that MQTT gives a meaning
        ('+', '#', '/', NUL) or that cannot be printed, begins with '$', or begins or ends with a
        space.

    """
    allowed = (
        f"1 to {_MOST_LETTERS} letters without '+', '#', '/' and control characters, no '$' at "
        'the start, no space at either end'
    )
    is_fit = (
        0 < len(name) <= _MOST_LETTERS
        and not any(letter in name for letter in _FORBIDDEN)
        and name.isprintable()
        and not name.startswith('$')
        and name == name.strip()
    )
    if not is_fit:
        raise SettingError(f'{setting} = {name!r} is refused: allowed are {allowed}')
    return name


@dataclass(frozen=True)
class TopicPaths:
    """
    The place of the cell in the plant.

    Parameters
    ----------
    site, area, line, cell : str
        Names of the levels; see `check_topic_name`.

    Raises
    ------
    SettingError
        When a name is refused.

    """

    site: str
    area: str
    line: str
    cell: str

    def __post_init__(self) -> None:
        for setting in ('site', 'area', 'line', 'cell'):
            check_topic_name(setting, getattr(self, setting))

    @property
    def base(self) -> str:
        """
        'site/area/line/cell'.

        """
        return f'{self.site}/{self.area}/{self.line}/{self.cell}'

    def topic(self, name: str) -> str:
        """
        Give the topic of something in the cell: 'decision' -> 'site/area/line/cell/decision'.

        """
        return f'{self.base}/{name}'

    def name_of(self, topic: str) -> str:
        """
        Give what `topic` made a topic of; '' when the topic is of another cell.

        """
        prefix = f'{self.base}/'
        return topic.removeprefix(prefix) if topic.startswith(prefix) else ''


@dataclass(frozen=True)
class EdgeTopics:
    """
    Where a Sparkplug B edge node stands.

    Parameters
    ----------
    group, node : str
        Names of the group and of the edge node; see `check_topic_name`.

    Raises
    ------
    SettingError
        When a name is refused.

    """

    group: str
    node: str

    def __post_init__(self) -> None:
        check_topic_name('sparkplug_group', self.group)
        check_topic_name('sparkplug_node', self.node)

    def topic(self, kind: str) -> str:
        """
        Give the topic of a kind of message, such as 'NBIRTH'.

        """
        return f'spBv1.0/{self.group}/{kind}/{self.node}'
