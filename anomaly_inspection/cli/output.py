# SPDX-License-Identifier: Apache-2.0
"""
What the commands share: consoles, progress, results on disk, exit status.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.writable import check_writable

EXIT_OK, EXIT_FAULT, EXIT_USAGE = 0, 1, 2
# As shells report a command that Ctrl-C has ended.
EXIT_INTERRUPTED = 130

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    columns = (
        TextColumn('{task.description:<28}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task('', total=None)

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=escaped(what))

        yield update


def escaped(text: str | os.PathLike[str]) -> str:
    """
    Give a text that may hold file names, safe to print: one line, and no markup.

    """
    return escape(printable(text))


def print_fault(text: str) -> None:
    """
    Print in red what must not be overlooked.

    """
    console.print(f'[bold red]{escaped(text)}[/]', soft_wrap=True)


def print_note(text: str) -> None:
    """
    Print in yellow what is to be kept in mind.

    """
    console.print(f'[yellow]{escaped(text)}[/]', soft_wrap=True)


def check_results_writable(
    *, files: Sequence[Path | None] = (), folders: Sequence[Path | None] = ()
) -> None:
    """
    Refuse at once what could only fail after the work; None is skipped.

    Raises
    ------
    SettingError
        When a file or folder cannot be written; says which and why.

    """
    for folder in folders:
        if folder is not None:
            check_writable(folder)
    for file in files:
        if file is None:
            continue
        refused = f'cannot write {printable(file)}'
        if not file.parent.is_dir():
            raise SettingError(f'{refused}: there is no folder {printable(file.parent)}')
        if not file.exists():
            check_writable(file.parent)
        elif not (file.is_file() and os.access(file, os.W_OK)):
            raise SettingError(f'{refused}: there is something that may not be overwritten')


def write_file(path: Path, text: str) -> None:
    """
    Write a result.

    Raises
    ------
    SettingError
        When that is not possible; says why.

    """
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise SettingError(f'cannot write {printable(path)}: {error.strerror}') from error


def without_nan(value: Any) -> Any:
    """
    Give the value with None in the place of NaN, which JSON does not know.

    """
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value
