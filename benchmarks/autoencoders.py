# SPDX-License-Identifier: Apache-2.0
"""
Compare the autoencoders: train them briefly in the same way, then score and time them.

All networks are trained on the same good images, with the same settings and number of steps, each
at the size it was made for. Then they judge test images of the dev third, as in `accuracy`.
`--final` also opens the other two thirds and adds a line to benchmarks/final_runs.jsonl. The
simulated line stands in for a missing mvtec_bottle.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
import math
from pathlib import Path
import statistics
import sys
import tempfile
from typing import Any, TYPE_CHECKING

import click
import cv2
import keras
import numpy as np
import openvino
import tensorflow

from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.evaluation.evaluate import evaluate_dataset
from anomaly_inspection.learning.architectures import build, LATENT, RECONSTRUCTION
from anomaly_inspection.learning.checkpoint import Checkpoint
from anomaly_inspection.learning.export import exported
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.learning.train import train
from anomaly_inspection.learning.training_settings import NETS, TrainingSettings
from anomaly_inspection.scoring.model import Autoencoder
from benchmarks.charts import bars
from benchmarks.real_sets import DATASETS, DEV, FINAL, frames_of, share_of
from benchmarks.report import machine, publish, Table, timed, Timing
from benchmarks.run_log import FINAL_RUNS, logged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.recipes.recipe import Recipe

DATASET = 'mvtec_bottle'
EPOCHS = 10
LARGEST_DIFFERENCE = 1e-4
# At this side OpenVINO should be faster than `predict` and a compiled function by these factors.
GOAL_SIDE_PX, GOAL_FACTORS = 128, {'predict': 50.0, 'tf.function': 3.0}

_LINE = SimulatedLineSettings.from_spec('line:width_px=320,height_px=240,shift_px=3')
_LINE_PARTS = 60
_PATCHES_ALONG = 4
_REPEATS = 20
_WAYS = ('OpenVINO', 'OpenVINO, all cores', 'predict', 'tf.function')


@dataclass(frozen=True, eq=False)
class Speed:
    """
    Time of a network for one image, and the difference between the ways to run it.

    Parameters
    ----------
    times : dict of str to Timing
        By way: 'OpenVINO' (one thread, as in the cell), the same on 'all cores', Keras' 'predict'
        and a compiled 'tf.function' (all cores).
    difference : float
        Largest absolute difference between the outputs of OpenVINO and Keras; of the latent
        vector relative to its largest value.

    """

    times: dict[str, Timing]
    difference: float

    @classmethod
    def of(cls, model: keras.Model, name: str, *, repeats: int = _REPEATS) -> Speed:
        """
        Time a model on one random image.

        """
        files = exported(model, name, '0' * 64)
        network = Autoencoder.from_arrays(files)
        all_cores = openvino.compile_model(
            openvino.Core().read_model(
                files['model.xml'].tobytes(), openvino.Tensor(files['model.bin'])
            ),
            'CPU',
            {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'},
        )
        image = np.random.default_rng(1).random(model.input.shape[1:], np.float32)
        batch = image[np.newaxis]
        tensor = tensorflow.constant(batch)
        compiled = tensorflow.function(lambda given: model(given, training=False))
        times = timed(
            {
                'OpenVINO': lambda _: network.run(image),
                'OpenVINO, all cores': lambda _: all_cores(batch),
                'predict': lambda _: model.predict(batch, verbose=0),
                'tf.function': lambda _: compiled(tensor)[RECONSTRUCTION].numpy(),
            },
            repeats=repeats,
        )
        drawn, latent = network.run(image)
        expected = {key: value.numpy()[0] for key, value in compiled(tensor).items()}
        scale = max(1.0, float(np.abs(expected[LATENT]).max()))
        difference = max(
            float(np.abs(drawn - expected[RECONSTRUCTION]).max()),
            float(np.abs(latent - expected[LATENT]).max()) / scale,
        )
        return cls(times, difference)

    def row(self) -> tuple[float | str, ...]:
        """
        Give ms of each way, how much faster OpenVINO is than TensorFlow, and the difference.

        """
        times = {way: self.times[way].p50 for way in _WAYS}
        factors = (times[way] / times['OpenVINO'] for way in GOAL_FACTORS)
        return *times.values(), *factors, f'{self.difference:.1e}'


@dataclass(frozen=True, eq=False)
class Result:
    """
    The result of one network.

    Parameters
    ----------
    settings : TrainingSettings
        How it was trained.
    parameters : int
        Weights, and statistics of batch normalisation.
    epoch_s : float
        Median duration of an epoch; the first, which compiles, only where there is no other.
    held_out_loss : float
        Of the best epoch.
    speed : Speed
        At the side it was trained with.
    figures : dict of str to dict
        `Evaluation.figures` by 'dev' and, in a final run, 'final'.

    """

    settings: TrainingSettings
    parameters: int
    epoch_s: float
    held_out_loss: float
    speed: Speed
    figures: dict[str, dict[str, Any]]


def result_of(
    settings: TrainingSettings,
    recipe: Recipe,
    good: Sequence[tuple[str, NDArray[np.uint8]]],
    dataset: Path,
    shares: Sequence[str],
) -> Result:
    """
    Train one network on good images and judge the wanted shares of the test images by it alone.

    """
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as scratch:
        trained = train(recipe, good, settings, folder=Path(scratch))
        checkpoint = Checkpoint.read(Path(scratch, 'checkpoint.npz'))
    channels = 3 if recipe.preprocessing.colour == 'bgr' else 1
    model = build(settings.architecture, settings.side_px, channels, settings.latent)
    for variable, value in zip(model.variables, checkpoint.best_weights, strict=True):
        variable.assign(value)
    durations_s = [epoch.duration_s for epoch in checkpoint.history]
    alone = replace(trained, scorers={'autoencoder': trained.scorers['autoencoder']})
    return Result(
        settings,
        model.count_params(),
        statistics.median(durations_s[1:] or durations_s),
        min(epoch.held_out_loss for epoch in checkpoint.history),
        Speed.of(model, settings.architecture),
        {
            share: evaluate_dataset(alone, dataset, names=_of_share(share)).figures
            for share in shares
        },
    )


def _of_share(share: str) -> Callable[[str], bool]:
    return lambda name: share_of(f'test/{name}') == share


def settings_of(
    name: str, epochs: int, good: Sequence[tuple[str, Any]], input_px: int = 0
) -> TrainingSettings:
    """
    Give the settings of a network: the same number of steps for all; the patch network counts
    patches.

    """
    settings = TrainingSettings(
        name,
        input_px=input_px if input_px in NETS[name].sides_px else 0,
        epochs=epochs,
        patience=epochs,
    )
    if name != 'grid_patch':
        return settings
    patch_px = math.ceil(min(good[0][1].shape[:2]) / _PATCHES_ALONG)
    patches = math.prod(math.ceil(size / patch_px) for size in good[0][1].shape[:2])
    return replace(settings, patch_px=patch_px, epochs=max(1, round(epochs / patches)))


def measure(
    names: Sequence[str] = tuple(NETS),
    *,
    epochs: int = EPOCHS,
    images: int | None = None,
    input_px: int = 0,
    final: bool = False,
    datasets: Path = DATASETS,
    folder: Path | None = None,
    log: Path = FINAL_RUNS,
) -> Path:
    """
    Run the benchmark.

    Parameters
    ----------
    names : sequence of str
        The nets.
    epochs : int
        Passes over the good images; a network of patches makes fewer passes with the same number
        of steps.
    images : int, optional
        Take only this many good images, to try it out.
    input_px : int
        Side of the input, for the networks that allow it; 0 = what each was made for.
    final : bool
        Whether to judge the other two thirds of the test images as well; this is logged.
    datasets, folder, log : Path
        Where the sets are, where the report goes, and the log of final runs.

    Returns
    -------
    Path
        The folder of the report.

    """
    before = machine()
    cv2.setNumThreads(1)
    shares = (DEV, FINAL) if final else (DEV,)
    results: dict[str, Result] = {}
    asked = {
        'benchmark': 'autoencoders',
        'nets': list(names),
        'epochs': epochs,
        'images': images,
        'input_px': input_px,
    }
    with (
        _dataset(datasets) as dataset,
        logged(log, asked, lambda: _figures(results)) if final else nullcontext(),
    ):
        good = frames_of(dataset / 'train' / 'good')[:images]
        recipe = teach(good, name='autoencoders', options=TeachOptions(scorers=('variation',)))
        for name in names:
            results[name] = result_of(
                settings_of(name, epochs, good, input_px), recipe, good, dataset, shares
            )
            print(f'{name}: {results[name].epoch_s:.1f} s an epoch', file=sys.stderr)
    at_goal_side = {
        name: Speed.of(build(name, GOAL_SIDE_PX, 3), name)
        for name in names
        if GOAL_SIDE_PX in NETS[name].sides_px
    }
    set_name = DATASET if dataset.name == DATASET else 'the simulated line'
    return publish(
        'autoencoders',
        f'Each net trained for {epochs} passes over {len(good)} good images of {set_name} (loss '
        f'{TrainingSettings().loss}, batch {TrainingSettings().batch}, the same settings for all; '
        'a fifth of the images held out). The runs are brief: no net is at its best. Judged on '
        'the dev third of the test images'
        + (' and on the other two thirds (final).' if final else '; no other was opened.'),
        _tables(results, at_goal_side, shares),
        plot=bars(
            f'Time for one image of {GOAL_SIDE_PX} px' if at_goal_side else 'Time for one image',
            {
                name: {way: speed.times[way].p50 for way in _WAYS}
                for name, speed in (
                    at_goal_side or {name: result.speed for name, result in results.items()}
                ).items()
            },
            unit='ms',
            ours='OpenVINO',
        ),
        figures={
            'asked': asked,
            'set': set_name,
            'nets': _figures(results),
            f'at_{GOAL_SIDE_PX}_px': {name: vars(speed) for name, speed in at_goal_side.items()},
        },
        before=before,
        folder=folder,
    )


@contextmanager
def _dataset(datasets: Path) -> Iterator[Path]:
    """
    Give the real set, or one of the simulated line where the real one is missing.

    """
    if (datasets / DATASET).is_dir():
        yield datasets / DATASET
        return
    with tempfile.TemporaryDirectory() as scratch:
        write_dataset(Path(scratch), _LINE, train_parts=_LINE_PARTS, test_parts=_LINE_PARTS)
        yield Path(scratch)


def _figures(results: Mapping[str, Result]) -> dict[str, Any]:
    kept = ('image_auroc', 'pixel_auroc', 'aupro', 'interval')
    return {
        name: {
            'input_px': result.settings.side_px,
            'patch_px': result.settings.patch_px,
            'epochs': result.settings.epochs,
            'parameters': result.parameters,
            'epoch_s': result.epoch_s,
            'held_out_loss': result.held_out_loss,
            'ms_per_image': {way: one.p50 for way, one in result.speed.times.items()},
            'largest_difference': result.speed.difference,
            **{
                share: {key: figures[key] for key in kept}
                for share, figures in result.figures.items()
            },
        }
        for name, result in results.items()
    }


def _tables(
    results: Mapping[str, Result], at_goal_side: Mapping[str, Speed], shares: Sequence[str]
) -> list[Table]:
    several = len(shares) > 1
    headings = [
        f'{what}{f", {share}" if several else ""}'
        for share in shares
        for what in ('image AUROC', 'pixel AUROC')
    ]
    fastest = ', '.join(f'{way} {factor:g} times' for way, factor in GOAL_FACTORS.items())
    speed_columns = (
        'net',
        *(f'{way} ms' for way in _WAYS),
        *(f'{way} / ours' for way in GOAL_FACTORS),
        'difference',
    )
    return [
        Table(
            'Trained alike',
            (
                *('net', 'input px', 'parameters', 'epochs', 's an epoch', 'held-out loss'),
                *headings,
                'scoring ms',
            ),
            [
                (
                    name,
                    result.settings.side_px,
                    f'{result.parameters:,}',
                    result.settings.epochs,
                    result.epoch_s,
                    result.held_out_loss,
                    *(
                        _with_interval(result.figures[share], key)
                        for share in shares
                        for key in ('image_auroc', 'pixel_auroc')
                    ),
                    result.figures[shares[0]]['ms_per_image']['p50'],
                )
                for name, result in results.items()
            ],
            'Scoring: a whole frame, from prepared image to verdict. grid_patch sees patches of a '
            'quarter of the shorter side, so that one pass is many steps.',
        ),
        Table(
            'One image through the net, at the size it was trained with',
            speed_columns,
            [(name, *result.speed.row()) for name, result in results.items()],
            f'Medians. Difference: largest, of OpenVINO to Keras; goal {LARGEST_DIFFERENCE:g}. '
            'Ours is OpenVINO on one thread, as in the cell; TensorFlow runs on all cores.',
        ),
        Table(
            f'One image of {GOAL_SIDE_PX} px, colour, untrained',
            speed_columns,
            [(name, *speed.row()) for name, speed in at_goal_side.items()],
            f'Goal: OpenVINO faster than {fastest}.',
        ),
    ]


def _with_interval(figures: Mapping[str, Any], key: str) -> str:
    value = figures[key]
    if value is None:
        return '-'
    low, high = figures['interval'][key]
    return f'{value:.3f} ({low:.3f}..{high:.3f})'


@click.command()
@click.option('--net', 'names', multiple=True, type=click.Choice(list(NETS)), help='Only these.')
@click.option('--epochs', type=click.IntRange(1), default=EPOCHS, show_default=True)
@click.option('--images', type=click.IntRange(20), help='Take only this many good images.')
@click.option(
    '--input-px',
    type=int,
    default=0,
    help='Side of the input, for the networks that allow it; default: what each was made for.',
)
@click.option('--final', is_flag=True, help='Judge all test images; this is logged.')
def main(
    names: tuple[str, ...], epochs: int, images: int | None, input_px: int, final: bool
) -> None:
    """
    Train every autoencoder briefly on mvtec_bottle, judge, and time.
    """
    measure(names or tuple(NETS), epochs=epochs, images=images, input_px=input_px, final=final)


if __name__ == '__main__':
    main()
