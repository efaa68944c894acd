# SPDX-License-Identifier: Apache-2.0
"""
Anomaly models from elsewhere, exported to OpenVINO: an image in; a map, a score, or both out.

Supported exports:

* anomalib 2: input NCHW, RGB, 0..1, resizing and normalisation inside the graph; outputs
  `anomaly_map` and `pred_score`, scaled to 0..1 in the graph (`pred_label` and `pred_mask` are
  left aside). No metadata needed. Its scaling cuts off at 1, so bad cannot be told from worse;
  exported with ``enable_normalization=False`` it does not.
* anomalib 1: the same input; one `output`, a map or a score, not scaled. Its metadata.json
  (`image_threshold`, `pixel_threshold`, `pred_scores.min` and so on) puts it on anomalib's scale,
  where 0.5 is anomalib's own threshold; nothing is cut off above 1.
* anomalib 0: as 1, but normalisation stands in metadata.json (`transform`) and in the rt_info of
  the model (`model_info`), not in the graph.
* OpenVINO Model API: the same rt_info (`mean_values`, `scale_values`, `reverse_input_channels`,
  `image_threshold`, `pixel_threshold`, `normalization_scale`).
* Any other model whose input is NCHW or NHWC with 1 or 3 channels. Put missing metadata in a JSON
  file: see `Metadata`.

The setting `model` is the .xml file that `fit` reads, the .bin of the same name beside it;
`metadata` is the JSON file, by default metadata.json beside the model. The recipe keeps the files
themselves, so that these paths only say where they came from.

A dynamic batch becomes 1, a dynamic height and width those of the prepared image. The model's own
thresholds play no part in verdicts: limits come from good parts of this cell.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.net_input import from_net, resized
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.model import Model, MODEL_BIN, MODEL_XML, read_network
from anomaly_inspection.scoring.model_metadata import METADATA, read_metadata
from anomaly_inspection.scoring.scorer import (
    check_alike,
    check_prepared,
    checked_settings,
    fitted_array,
    ScorerOutput,
    Setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    import openvino

    from anomaly_inspection.imaging.preprocessing import Prepared

# Where channels, height and width stand.
_PLACES = {'nchw': (1, 2, 3), 'nhwc': (3, 1, 2)}
# As large as a frame can be.
_LARGEST_PX = 16384
# What the model's own thresholds make of map and score.
_LABELS = {'pred_label', 'pred_mask'}


def model_files(model: str | Path, metadata: str | Path = '') -> dict[str, NDArray[np.uint8]]:
    """
    Read an exported model from disk.

    Parameters
    ----------
    model : path
        Of the .xml; the .bin of the same name lies beside it.
    metadata : path
        JSON; '' = metadata.json beside the model, if there is one.

    Raises
    ------
    SettingError
        When a file cannot be read.
    RecipeError
        When they are no model, or the metadata is not understood.

    """
    xml = Path(model)
    if xml.suffix != '.xml':
        raise SettingError(f'the model is {str(model)!r}; allowed: an OpenVINO .xml file')
    paths = {MODEL_XML: xml, MODEL_BIN: xml.with_suffix('.bin')}
    if str(metadata):
        paths[METADATA] = Path(metadata)
    elif xml.with_name(METADATA).exists():
        paths[METADATA] = xml.with_name(METADATA)
    files = {}
    for key, path in paths.items():
        try:
            files[key] = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise SettingError(f'{path} cannot be read: {error.strerror}') from error
    network = read_network(files)
    _layout(network, read_metadata(network, _content(files)).layout)
    return files


class OpenvinoScorer:
    """
    An anomaly model from elsewhere.

    A model without a score has the highest value of its map as the score. A model without a map
    has the score as its peak, and a map of zeros.

    """

    name: ClassVar[str] = 'openvino'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'score',
            '1',
            BadSide.HIGH,
            'Anomaly score of the model, on its own scale.',
            minimum=float('-inf'),
            largest_limit=1e9,
        ),
        MeasureSpec(
            'peak',
            '1',
            BadSide.HIGH,
            'Highest value of the anomaly map of the model, on its own scale.',
            minimum=float('-inf'),
            largest_limit=1e9,
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = ('image_shape',)
    settings: ClassVar[Mapping[str, Setting]] = {'model': Setting(''), 'metadata': Setting('')}
    default_settings: ClassVar[Mapping[str, Any]] = {'model': '', 'metadata': ''}

    def __init__(
        self,
        files: Mapping[str, NDArray[np.uint8]],
        like: NDArray[np.uint8],
        settings: Mapping[str, Any],
    ) -> None:
        checked_settings(self.name, self.settings, settings)
        self._files = dict(files)
        self._like = like
        network = read_network(files)
        self._metadata = read_metadata(network, _content(files))
        self._layout, (self._channels, height, width) = _layout(network, self._metadata.layout)
        for key, values in (('mean', self._metadata.mean), ('std', self._metadata.std)):
            if len(values) not in (1, self._channels):
                raise RecipeError(
                    f'{METADATA}: {key} is {list(values)}; allowed: one number, as the model '
                    'takes images of one channel'
                )
        self._size_px = (width or like.shape[1], height or like.shape[0])
        self._model = Model(network, self._input(like).shape)
        self._map_index, self._score_index = self._found()

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Load the model and check that it fits; only the size of the images matters.

        Raises
        ------
        SettingError
            When no model is given or it cannot be read.
        RecipeError
            When the model is corrupt, has another kind of input or output than is understood, or
            gives values that are not finite.
        FrameError
            When there is no image, or not all are of one size and type.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        if not chosen['model']:
            raise SettingError("openvino.model is ''; allowed: the .xml file of an exported model")
        check_alike(images, at_least=1)
        files = model_files(chosen['model'], chosen['metadata'])
        scorer = cls(files, np.zeros_like(images[0].image), chosen)
        raw_map, _ = scorer._raw(images[0].image)
        if raw_map is not None and np.median(raw_map) < 0:
            raise RecipeError(
                f'the map of the model goes down to {raw_map.min():.4g}; allowed: 0 and more. '
                f'pixel_threshold, anomaly_maps.min and anomaly_maps.max in {METADATA} put it on '
                "anomalib's scale"
            )
        return scorer

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        shape = fitted_array(arrays, 'image_shape', np.int64, (1,)).tolist()
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or not (
            1 <= min(shape) <= max(shape) <= _LARGEST_PX
        ):
            raise RecipeError(
                f'image_shape is {shape}; allowed: height and width from 1 to {_LARGEST_PX}, and '
                '3 for BGR'
            )
        files = {key: array for key, array in arrays.items() if '.' in key}
        if strangers := files.keys() - {MODEL_XML, MODEL_BIN, METADATA}:
            raise RecipeError(f'{min(strangers)} is not a file of the scorer openvino')
        return cls(files, np.zeros(shape, np.uint8), settings)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the files and the size of the prepared images.

        """
        return {'image_shape': np.array(self._like.shape), **self._files}

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads score at the same time; see `RunsNetwork`.

        """
        self._model.allow_threads(count)

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        The map has the size of the prepared image and is at least 0.

        """
        check_prepared(prepared, self._like)
        height, width = prepared.valid.shape
        raw_map, raw_score = self._raw(prepared.image)
        anomaly_map = np.zeros((height, width), np.float32)
        if raw_map is not None:
            found = np.maximum(from_net(raw_map, (width, height)), 0)
            mask = prepared.valid.view(np.uint8)
            anomaly_map = np.asarray(cv2.copyTo(found, mask), np.float32)
        peak = float(anomaly_map.max()) if raw_map is not None else raw_score
        score = raw_score if raw_score is not None else peak
        assert peak is not None
        assert score is not None
        return ScorerOutput({'score': score, 'peak': peak}, anomaly_map)

    def _raw(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32] | None, float | None]:
        """
        Give map and score as the model gives them, on the metadata's scale.

        """
        outputs = self._model.outputs(self._input(image))
        raw_map = raw_score = None
        if self._map_index is not None:
            plane = outputs[self._map_index][1]
            plane = plane.reshape([length for length in plane.shape if length > 1])
            raw_map = self._metadata.map_scale.of(plane)
        if self._score_index is not None:
            number = outputs[self._score_index][1].reshape(1)
            raw_score = float(self._metadata.score_scale.of(number)[0])
        return raw_map, raw_score

    def _input(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        if image.ndim == 2 and self._channels == 3:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
        elif image.ndim == 3 and self._channels == 1:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        if image.ndim == 3 and self._metadata.colour == 'rgb':
            image = image[..., ::-1]
        values = resized(np.ascontiguousarray(image), self._size_px).astype(np.float32)
        values = values.reshape(*values.shape[:2], self._channels)
        values *= self._metadata.value_max / 255
        values -= np.array(self._metadata.mean, np.float32)
        values /= np.array(self._metadata.std, np.float32)
        return (values.transpose(2, 0, 1) if self._layout == 'nchw' else values)[np.newaxis]

    def _found(self) -> tuple[int | None, int | None]:
        """
        Tell which outputs are map and score, from what the model gives for a gray image.

        """
        outputs = self._model.outputs(self._input(np.full_like(self._like, 128)))
        planes, numbers = (
            {
                index: names
                for index, (names, values) in enumerate(outputs)
                if values.dtype.kind == 'f' and not names & _LABELS and is_meant(values)
            }
            for is_meant in (_is_plane, lambda values: values.size == 1)
        )
        found = (
            _chosen(planes, 'map_output', self._metadata.map_output, 'anomaly_map'),
            _chosen(numbers, 'score_output', self._metadata.score_output, 'pred_score'),
        )
        if found == (None, None):
            shapes = [f'{sorted(names)} {one.dtype} {one.shape}' for names, one in outputs]
            raise RecipeError(
                f'the model gives {"; ".join(shapes)}; allowed: a map (1 x h x w), a score (one '
                'number), or both, floating-point'
            )
        return found


def _content(files: Mapping[str, NDArray[np.uint8]]) -> bytes:
    return files[METADATA].tobytes() if METADATA in files else b''


def _layout(network: openvino.Model, given: str) -> tuple[str, tuple[int, int, int]]:
    """
    Give the layout, and channels, height and width of the input; 0 = dynamic.

    """
    shape = [
        one.get_length() if one.is_static else 0 for one in network.inputs[0].get_partial_shape()
    ]
    fitting = [
        layout
        for layout, places in _PLACES.items()
        if len(shape) == 4
        and shape[0] in (0, 1)
        and shape[places[0]] in (1, 3)
        and given in ('', layout)
    ]
    if len(fitting) != 1:
        raise RecipeError(
            f'the input of the model has the shape {shape} (0 = any), layout '
            f'{given or " or ".join(fitting) or "unknown"}; allowed: one image, nchw or nhwc, of '
            f'1 or 3 channels; where both could be, {METADATA} says the layout'
        )
    channels, height, width = (shape[place] for place in _PLACES[fitting[0]])
    return fitting[0], (channels, height, width)


def _is_plane(values: NDArray[Any]) -> bool:
    return len([length for length in values.shape if length > 1]) == 2


def _chosen(outputs: Mapping[int, frozenset[str]], key: str, given: str, usual: str) -> int | None:
    """
    Give the one output that is meant: by its name as given, by the usual name, or because there is
    no other.

    """
    named = [index for index, names in outputs.items() if (given or usual) in names]
    if named:
        return named[0]
    if not given and len(outputs) <= 1:
        return next(iter(outputs), None)
    known = sorted(name for names in outputs.values() for name in names)
    raise RecipeError(
        f'{METADATA}: {key} is {given!r}; allowed: {", ".join(known) or "nothing, it has none"}'
    )
