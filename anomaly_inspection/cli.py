# SPDX-License-Identifier: Apache-2.0
"""
The `anomaly-inspection` command.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
import json
from pathlib import Path
import signal
import sys
import threading
from typing import Any, Literal, TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from anomaly_inspection import __version__
from anomaly_inspection.errors import InspectionError, SettingError

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.run_summary import PartRecord

EXIT_OK, EXIT_FAULT, EXIT_USAGE = 0, 1, 2

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class _Group(click.Group):
    """
    Turns the package's own errors into one line and exit status 2.

    """

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InspectionError as error:
            errors.print(f'[bold red]error:[/] {_escaped(str(error))}', soft_wrap=True)
            sys.exit(EXIT_USAGE)


@click.group(cls=_Group, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__)
def main() -> None:
    """
    Visual inspection taught on good parts only.

    \b
    Teach a product from a folder of good images, then run the cell on any source:
      anomaly-inspection teach good_images/ --recipe recipes/pump
      anomaly-inspection run --recipe recipes/pump --source 0

    \b
    No camera at hand? Everything works on the simulated line:
      anomaly-inspection simulate out/line --parts 60 --seed 1
      anomaly-inspection teach out/line/train/good --recipe out/pump
      anomaly-inspection run --recipe out/pump --source line:parts=100,seed=2
    """


# --------------------------------------------------------------------------------------- teach


def _four_numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int, int, int] | None:
    if value is None:
        return None
    try:
        x, y, width, height = (int(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(
            f"{value!r}: four whole numbers of pixels are wanted, as in '40,20,200,240'"
        ) from None
    return x, y, width, height


@main.command()
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--recipe', required=True, type=click.Path(path_type=Path), help='Folder of the new recipe.'
)
@click.option(
    '--scorer',
    'scorers',
    multiple=True,
    help="Scorer to teach; may be given several times. 'auto' chooses by synthetic defects on the "
    'good parts. Default: ssim and variation.',
)
@click.option(
    '--setting',
    'settings',
    metavar='SCORER.KEY=VALUE',
    multiple=True,
    help='Setting of a scorer, as in patch_statistics.statistics=pooled; may be given several '
    'times.',
)
@click.option(
    '--speed-budget-ms',
    type=float,
    default=30.0,
    show_default=True,
    help='With --scorer auto: most time that scoring a frame may take on this machine.',
)
@click.option(
    '--roi',
    metavar='X,Y,W,H',
    callback=_four_numbers,
    help='Region of interest in pixels of the frame; what lies outside is not judged.',
)
@click.option(
    '--false-reject-rate',
    type=float,
    default=0.005,
    show_default=True,
    help='Share of good parts that may be rejected; smaller moves the limits outwards.',
)
@click.option('--product', default='', help='Product name, for the provenance.')
@click.option('--taught-by', default='', help='Who taught it, for the provenance.')
def teach(
    images: Path,
    recipe: Path,
    scorers: tuple[str, ...],
    settings: tuple[str, ...],
    speed_budget_ms: float,
    roi: tuple[int, int, int, int] | None,
    false_reject_rate: float,
    product: str,
    taught_by: str,
) -> None:
    """
    Make a recipe from IMAGES, a folder of good parts.

    Limits come from these good parts alone, by cross-validation. Thirty images are a start, a
    hundred are better. An existing recipe gets a new version; the old one is kept beside it.
    """
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.learning.teach import teach as teach_parts
    from anomaly_inspection.recipes.folder import write_recipe
    from anomaly_inspection.recipes.recipe import Provenance

    with _progress() as progress:
        taught = teach_parts(
            _good_images(images),
            name=recipe.name,
            product=product,
            scorers=_named_scorers(scorers),
            scorer_settings=_scorer_settings(settings),
            speed_budget_ms=speed_budget_ms,
            region_of_interest=RegionOfInterest(*roi) if roi else None,
            false_reject_rate=false_reject_rate,
            provenance=Provenance(taught_by=taught_by, source=str(images)),
            progress=progress,
        )
    for left_out in taught.provenance.left_out:
        errors.print(f'[yellow]left out:[/] {_escaped(left_out)}', soft_wrap=True)
    for reason in taught.provenance.choice:
        console.print(f'  {_escaped(reason)}', soft_wrap=True)
    written = write_recipe(taught, recipe)
    _print_recipe(written)


def _named_scorers(scorers: tuple[str, ...]) -> tuple[str, ...] | Literal['auto']:
    if 'auto' not in scorers:
        return scorers or ('ssim', 'variation')
    if len(scorers) > 1:
        raise SettingError(f'--scorer {" ".join(scorers)}: auto chooses alone; allowed: auto only')
    return 'auto'


def _scorer_settings(texts: tuple[str, ...]) -> dict[str, dict[str, int | float | str]]:
    """
    Read 'scorer.key=value'; values that read as numbers are numbers.

    """
    settings: dict[str, dict[str, int | float | str]] = {}
    for text in texts:
        name, equals, value = text.partition('=')
        scorer, dot, key = name.partition('.')
        if not (equals and dot and scorer and key):
            raise SettingError(
                f'--setting {text}: allowed: scorer.key=value, as in '
                'patch_statistics.statistics=pooled'
            )
        if key in settings.setdefault(scorer, {}):
            raise SettingError(f'--setting {name} is given twice; allowed: once')
        settings[scorer][key] = _number_or_text(value)
    return settings


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _good_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """
    Give the images of a folder with their names; one that cannot be read is an error.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder

    with ImageFolder(folder) as images:
        while (frame := images.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{folder / frame.name}: {frame.problem}')
            yield frame.name, frame.image


def _print_recipe(recipe: Any) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ('scorer', 'measure'):
        table.add_column(heading)
    for heading in ('typical good part', 'limit'):
        table.add_column(heading, justify='right')
    table.add_column('unit')
    for scorer_name, scorer in recipe.scorers.items():
        units = {spec.name: spec.unit for spec in recipe.measures(scorer_name)}
        for measure, limit in scorer.limits.items():
            table.add_row(
                scorer_name,
                measure,
                f'{limit.typical:.4g}',
                f'{limit.limit:.4g}',
                units[measure],
            )
    console.print(table)
    console.print(
        f'recipe [bold]{recipe.name}[/] version {recipe.version} written to {recipe.path} '
        f'(alignment {recipe.preprocessing.alignment.kind}, hash {recipe.hash[:12]})',
        soft_wrap=True,
    )


# ----------------------------------------------------------------------------------- self-test


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(f"{value!r}: numbers are wanted, as in '8,12,20'") from None


@main.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--sizes',
    'sizes_px',
    metavar='PX,..',
    callback=_numbers,
    help='Sizes of the defects: diameter of the circle of the same area. Default: 4,6,8,12,20,32.',
)
@click.option(
    '--contrasts',
    metavar='LEVELS,..',
    callback=_numbers,
    help='Contrasts of the defects: mean change of the gray level. Default: 8,15,30,60.',
)
@click.option(
    '--defects-each',
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help='Defects of every kind at every size and contrast; more give narrower intervals.',
)
@click.option('--seed', type=click.IntRange(0), default=1, show_default=True)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a page to look at.'
)
def self_test(
    recipe: Path,
    images: Path,
    sizes_px: tuple[float, ...] | None,
    contrasts: tuple[float, ...] | None,
    defects_each: int,
    seed: int,
    json_file: Path | None,
    html: Path | None,
) -> None:
    """
    Show which sizes and contrasts of defect RECIPE sees, with IMAGES, a folder of good parts.

    Puts synthetic defects (pastes, scratches, stains, missing material, dents) on the good parts
    and judges them as in the cell. Take good parts that the recipe was not taught on.
    """
    from anomaly_inspection.evaluation import self_test as tests
    from anomaly_inspection.evaluation.self_test_report import write_self_test
    from anomaly_inspection.recipes.folder import read_recipe

    with _progress() as progress:
        result = tests.self_test(
            read_recipe(recipe),
            _good_images(images),
            sizes_px=sizes_px or tests.SIZES_PX,
            contrasts=contrasts or tests.CONTRASTS,
            defects_each=defects_each,
            seed=seed,
            progress=progress,
        )
    table = Table(
        title='Percent of the defects seen, all kinds, with the 95 % interval',
        title_justify='left',
        box=None,
        pad_edge=False,
    )
    table.add_column('levels', justify='right')
    for size_px in result.sizes_px:
        table.add_column(f'{size_px:g} px', justify='right')
    for contrast in result.contrasts:
        shares = [result.seen(size_px, contrast) for size_px in result.sizes_px]
        texts = [
            tests.shares_text(share).replace(' % ', '\n') if share else '-' for share in shares
        ]
        table.add_row(f'{contrast:g}', *texts)
    console.print(table)
    console.print()
    for sentence in result.in_words():
        console.print(f'  {sentence}', soft_wrap=True)
    for note in result.notes:
        console.print(f'[yellow]{_escaped(note)}[/]', soft_wrap=True)
    if json_file:
        try:
            json_file.write_text(tests.to_json(result), encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        console.print(f'page {_escaped(str(write_self_test(result, html)))}', soft_wrap=True)


# ----------------------------------------------------------------------------------------- run


@main.command()
@click.option(
    '--recipe', required=True, type=click.Path(path_type=Path), help='Folder of the recipe.'
)
@click.option(
    '--source',
    required=True,
    help="Camera index or device, image folder, video file, or 'line' for the simulated line "
    "('line:parts=200,seed=2,defect_rate=0.3').",
)
@click.option(
    '--rate',
    type=click.FloatRange(0.01, 1000),
    default=5.0,
    show_default=True,
    help='Parts per second from files and the simulated line; a camera keeps its own pace.',
)
@click.option(
    '--parts', type=click.IntRange(1), help='Stop after so many parts; default: at the end.'
)
@click.option(
    '--config',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Parameter file of the nodes; default: config/cell.yaml.',
)
@click.option(
    '--report',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write overlays, parts.jsonl and summary.json into this folder.',
)
@click.option(
    '--fail-on-escape',
    is_flag=True,
    help='Exit with 1 when a part passed whose defect is known to be >= 12 px and >= 30 levels.',
)
def run(
    recipe: Path,
    source: str,
    rate: float,
    parts: int | None,
    config: Path | None,
    report: Path | None,
    fail_on_escape: bool,
) -> None:
    """
    Run the cell in one process, all nodes over DDS, and print a line a part.

    Exit status: 0 every part was decided and its gate confirmed, 1 a part was lost, a gate did not
    follow or confirm, or the line was stopped, 2 the command could not be carried out as given.
    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.recipes.folder import read_recipe

    read_recipe(recipe)
    try:
        from anomaly_inspection.nodes.run import run_cell
        from anomaly_inspection.nodes.share import share_folder
    except ImportError as error:
        raise SettingError(
            f'run needs ROS 2 and the built messages ({error}): source the workspace first, '
            'or use `make run`'
        ) from error

    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    truth_source = open_source(source)
    if truth_source.is_live:
        # A camera that is not there now is a wrong option; one that is lost later is opened again.
        with truth_source:
            pass
    # The truth of files can be read once they are open; a camera has none.
    with nullcontext() if truth_source.is_live else truth_source:
        result = run_cell(
            recipe,
            truth_source,
            source,
            rate_hz=rate,
            parameter_file=config or share_folder() / 'config' / 'cell.yaml',
            overlays=report / 'overlays' if report else None,
            most_parts=parts,
            interrupted=interrupted,
            part_done=_print_part,
        )
    summary = _print_summary(result)
    if report:
        _write_report(report, result, summary)
    sys.exit(_exit_status(summary, fail_on_escape=fail_on_escape))


def _print_part(record: PartRecord) -> None:
    color = 'green' if record.verdict == 'PASS' else 'red'
    notes = []
    if record.is_escape:
        notes.append(f'[bold red]ESCAPE of {record.true_class}[/]')
    if record.is_false_reject:
        notes.append('[bold yellow]FALSE REJECT[/]')
    if not record.has_gate_followed or not record.gate_is_confirmed:
        notes.append(f'[bold red]GATE: {_escaped(record.sort_detail)}[/]')
    gate = {True: 'passed', False: 'sorted out', None: 'LOST'}[record.has_passed_gate]
    console.print(
        f'{record.part_id:>6} {_escaped(record.name):<28} '
        f'[{color}]{record.verdict or "LOST":<6}[/] '
        f'{record.reason.lower().replace("_", " "):<15} score {record.anomaly_score:6.2f}  '
        f'{1e3 * record.latency_s:6.1f} ms  gate {gate:<10} '
        f'{record.true_class:<16} {" ".join(notes)}',
        soft_wrap=True,
    )


def _print_summary(result: Any) -> dict[str, Any]:
    from anomaly_inspection.evaluation.run_summary import summarise

    summary = summarise(result.records, result.duration_s)
    summary['line_stops'] = result.line_stop_reasons
    table = Table(title='What became of the parts', title_justify='left', box=None)
    table.add_column('truth')
    for heading in ('parts', 'passed', 'sorted out'):
        table.add_column(heading, justify='right')
    for row in summary['confusion']:
        table.add_row(
            row['true_class'], str(row['parts']), str(row['passed']), str(row['rejected'])
        )
    console.print()
    console.print(table)
    console.print()
    for name, value in (
        ('false rejects', f'{summary["false_rejects"]} of {summary["n_good"]} good parts'),
        (
            'escapes',
            f'{summary["escapes"]} of {summary["n_defect"]} defective parts, '
            f'{summary["large_escapes"]} of them known to be >= 12 px and >= 30 levels',
        ),
        ('lost parts', summary['lost']),
        ('gate not as decided', summary['gate_not_followed']),
        ('gate not confirmed', summary['gate_not_confirmed']),
        ('throughput', f'{summary["parts_per_second"] or 0:.1f} parts/s'),
        (
            'exposure to decision',
            f'p50 {summary["latency_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["latency_ms"]["p99"]:.1f} ms',
        ),
        (
            'gate firing error',
            f'p50 {summary["firing_error_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["firing_error_ms"]["p99"]:.1f} ms',
        ),
    ):
        console.print(f'  {name:<22}{value}')
    for reason in result.line_stop_reasons:
        console.print(f'  [bold red]line stopped[/]          {_escaped(reason)}', soft_wrap=True)
    return summary


def _write_report(folder: Path, result: Any, summary: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'parts.jsonl').open('w') as file:
        for record in result.records:
            entry = {**vars(record), 'true_class': record.true_class}
            del entry['truth']
            file.write(json.dumps(_without_nan(entry)) + '\n')
    (folder / 'summary.json').write_text(json.dumps(_without_nan(summary), indent=2) + '\n')
    console.print(f'  report                {folder} ({len(result.overlays)} overlays)')


def _exit_status(summary: dict[str, Any], *, fail_on_escape: bool) -> int:
    has_fault = bool(
        summary['lost']
        or summary['gate_not_followed']
        or summary['gate_not_confirmed']
        or summary['line_stops']
        or not summary['parts']
    )
    has_escape = fail_on_escape and summary['large_escapes'] > 0
    return EXIT_FAULT if has_fault or has_escape else EXIT_OK


# ------------------------------------------------------------------------------------ evaluate


@main.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('dataset', type=click.Path(path_type=Path))
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a report to look at.'
)
def evaluate(recipe: Path, dataset: Path, json_file: Path | None, html: Path | None) -> None:
    """
    Measure RECIPE on DATASET, labelled images in MVTec AD's layout (its root or its test folder).
    """
    from anomaly_inspection.evaluation.evaluate import evaluate_dataset, to_json
    from anomaly_inspection.evaluation.report import write_report
    from anomaly_inspection.recipes.folder import read_recipe

    with _progress() as progress:
        evaluation = evaluate_dataset(read_recipe(recipe), dataset, progress)
    _print_figures(evaluation.figures)
    if json_file:
        try:
            json_file.write_text(to_json(evaluation), encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        console.print(f'report {_escaped(str(write_report(evaluation, html)))}', soft_wrap=True)


def _print_figures(figures: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_column('95 % interval', justify='right')
    intervals = figures['interval']
    rows = {key: (figures[key], intervals[key]) for key in ('image_auroc', 'average_precision')}
    rows['f1_max'] = figures['f1_max'], intervals['f1_max']
    for group in ('at_limits', 'recall_by_defect'):
        prefix = 'recall of ' if group == 'recall_by_defect' else ''
        for key, value in figures[group].items():
            rows[f'{prefix}{key}'] = value, intervals[group][key]
    rows |= {key: (figures[key], intervals[key]) for key in ('pixel_auroc', 'aupro')}
    for name, (value, interval) in rows.items():
        if value is not None:
            table.add_row(
                _escaped(name), f'{value:.3f}', f'{interval[0]:.3f} to {interval[1]:.3f}'
            )
    times = figures['ms_per_image']
    console.print(
        f'{figures["n_good"]} good, {figures["n_defect"]} defective, '
        f'{figures["n_no_part"]} of empty places'
    )
    console.print(table)
    if times['p50'] is not None:
        console.print(f'{times["p50"]:.1f} ms an image (median), 99 % below {times["p99"]:.1f} ms')
    for note in figures['notes']:
        console.print(f'[yellow]{_escaped(note)}[/]', soft_wrap=True)


# ------------------------------------------------------------------------------------ simulate


@main.command()
@click.argument('directory', type=click.Path(path_type=Path))
@click.option(
    '--parts',
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help='Number of test parts, good and defective.',
)
@click.option(
    '--train-parts',
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help='Number of good parts to teach with.',
)
@click.option('--seed', type=click.IntRange(0), default=1, show_default=True)
@click.option(
    '--line',
    default='line',
    show_default=True,
    help="The line's settings, as in 'line:rotation_deg=180,defect_rate=0.5'.",
)
def simulate(directory: Path, parts: int, train_parts: int, seed: int, line: str) -> None:
    """
    Write a labelled data set of the simulated line into DIRECTORY.

    MVTec layout: train/good, test/good, test/<defect>, ground_truth/<defect>, with labels.csv and
    events.csv. The same seed gives the same images.
    """
    from dataclasses import replace

    from anomaly_inspection.capture.simulated_dataset import write_dataset
    from anomaly_inspection.capture.simulated_line import SimulatedLineSettings

    settings = replace(SimulatedLineSettings.from_spec(line), seed=seed)
    with _progress() as progress:
        write_dataset(
            directory,
            settings,
            train_parts=train_parts,
            test_parts=parts,
            progress=lambda done, total: progress(done, total, 'rendering'),
        )
    console.print(f'{train_parts} good parts to teach and {parts} test parts in {directory}')


# ------------------------------------------------------------------------------------- helpers


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    columns = (
        TextColumn('{task.description:<28}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task('', total=None)

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield update


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _without_nan(value: Any) -> Any:
    """
    Give the value with None in the place of NaN, which JSON does not know.

    """
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


if __name__ == '__main__':
    main()
