# SPDX-License-Identifier: Apache-2.0
"""
Backbones: pretrained networks, converted to the feature networks that `features` runs.

The packaged one comes from `pretrained_backbone.py`, any other from an ONNX or OpenVINO file. A
backbone is converted once and kept in the user's cache; teaching copies it into the recipe.

"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
from pathlib import Path
import re
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.pretrained_backbone import (
    packaged_backbone,
    packaged_weights,
    STAGES,
    WEIGHTS_SHA256,
)
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.scoring.deep_features import DEEP_BACKBONE, DeepFeaturesScorer
from anomaly_inspection.scoring.feature_network import (
    backbone_path,
    read_backbone,
    SOURCE,
    STRIDE_PX,
)
from anomaly_inspection.scoring.features import FeaturesScorer, PACKAGED_BACKBONE
from anomaly_inspection.scoring.model import MODEL_BIN, MODEL_XML

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    import openvino

# Raised when the same backbone is converted to another network.
_FORMAT = 'feature network 1'
# More would make teaching slow; a random choice of channels serves nearly as well (PaDiM).
_MOST_CHANNELS = 512
_SEED = 1
_SUFFIXES = ('.onnx', '.xml')
# Where a file leaves its size open.
_SIDE_PX = 256
#: Which layers each scorer takes, by the pixels that a cell covers.
LAYER_STRIDES = {FeaturesScorer.name: (4, 8, 16), DeepFeaturesScorer.name: (32,)}
_KNOWN_STRIDES = sorted(itertools.chain(*LAYER_STRIDES.values()))
_LAST_STRIDE = 32
_NAMES = {FeaturesScorer.name: PACKAGED_BACKBONE, DeepFeaturesScorer.name: DEEP_BACKBONE}
# What ImageNet's networks in PyTorch take: RGB, 0..1, less the mean, by the deviation.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def is_packaged_backbone_installed() -> bool:
    """
    Tell whether the package with the weights of the packaged backbone is there.

    """
    return packaged_weights() is not None


def keep_packaged_backbone(scorer: str = FeaturesScorer.name) -> str:
    """
    Put the packaged backbone into the user's cache, unless it is there; give its name.

    Parameters
    ----------
    scorer : str
        'features' or 'deep_features': each takes other layers.

    Raises
    ------
    SettingError
        When the package is not installed, holds other weights than the known ones, or the cache
        cannot be written.

    """
    name = _NAMES[scorer]
    path = backbone_path(name)
    source = f'{WEIGHTS_SHA256} {_FORMAT}'
    if not _is_kept(path, source):
        network = packaged_backbone()
        layers = dict(zip(STAGES.values(), network.outputs, strict=True))
        strides = LAYER_STRIDES[scorer]
        cut = _cut(network, [layers[stride] for stride in strides])
        _keep(path, source, _files(_features_of(cut, strides)))
    return name


def keep_backbone_of_file(
    model: Path, layers: Sequence[str] = (), scorer: str = FeaturesScorer.name
) -> str:
    """
    Convert a model file into a backbone in the user's cache, unless it is there; give its name.

    Parameters
    ----------
    model : path
        An .onnx file, or an OpenVINO .xml file with its .bin beside it. Its input is 1 x 3 x
        height x width: RGB, 0 to 1, normalised by the mean and deviation of ImageNet, as
        torchvision's classifiers are.
    layers : sequence of str, optional
        Names of the layers to take features from: for `features` at a 4th, an 8th or a 16th of the
        image's size, for `deep_features` at a 32nd. By default, for each of these sizes, the first
        layer that a smaller one is made from.
    scorer : str
        'features' or 'deep_features'.

    Raises
    ------
    SettingError
        When the file cannot be read, is no such model, or lacks a layer.

    """
    if model.suffix not in _SUFFIXES:
        raise SettingError(
            f'the backbone is {shown(str(model))}; allowed: a file that ends in '
            f'{" or ".join(_SUFFIXES)}'
        )
    digest = hashlib.sha256(repr((*layers, LAYER_STRIDES[scorer])).encode())
    for path in (model, model.with_suffix('.bin')) if model.suffix == '.xml' else (model,):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise SettingError(f'{printable(path)} cannot be read: {error.strerror}') from error
    name = f'{re.sub("[^A-Za-z0-9_-]", "_", model.stem)[:60]}-{digest.hexdigest()[:8]}'
    path = backbone_path(name)
    source = f'{digest.hexdigest()} {_FORMAT}'
    if not _is_kept(path, source):
        _keep(path, source, _files(_imported(model, layers, LAYER_STRIDES[scorer])))
    return name


def _is_kept(path: Path, source: str) -> bool:
    try:
        return str(read_backbone(path)[SOURCE]) == source
    except SettingError:
        return False


def _keep(path: Path, source: str, files: Mapping[str, NDArray[np.uint8]]) -> None:
    """
    Write a backbone so that no reader ever sees half of it.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix='.part', delete=False) as file:
            try:
                np.savez(file, **files, **{SOURCE: np.array(source)})  # type: ignore[arg-type]
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise SettingError(
            f'{printable(path)} cannot be written: {error.strerror}. XDG_CACHE_HOME names '
            'another folder for it'
        ) from error


def _files(network: openvino.Model) -> dict[str, NDArray[np.uint8]]:
    """
    Give a network as the bytes of its files, the same ones each time.

    """
    import openvino

    # Names that OpenVINO invents go on counting within a process.
    for index, step in enumerate(network.get_ordered_ops()):
        step.set_friendly_name(f'{step.get_type_name()}_{index}')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, MODEL_XML)
        openvino.save_model(network, path, compress_to_fp16=False)
        return {
            name: np.fromfile(path.with_name(name), np.uint8) for name in (MODEL_XML, MODEL_BIN)
        }


def _imported(model: Path, layers: Sequence[str], wanted: Sequence[int]) -> openvino.Model:
    import openvino

    try:
        network = openvino.Core().read_model(model)
        taken = network.inputs[0].get_partial_shape()
        is_image = len(network.inputs) == 1 and len(taken) == 4 and _allows(taken[1], 3)
        if not is_image:
            inputs = [str(one.get_partial_shape()) for one in network.inputs]
            raise SettingError(
                f'{printable(model)} takes {", ".join(inputs)}; allowed: one image, 1 x 3 x '
                'height x width'
            )
        sides = [side.get_length() if side.is_static else _SIDE_PX for side in list(taken)[2:]]
        network.reshape([1, 3, *sides])
        given = _named_layers(network, layers) if layers else _found_layers(network)
        strides = {
            name: sides[0] // (_plane(output) or sides[0]) for name, output in given.items()
        }
        chosen = [name for name, stride in strides.items() if stride in wanted]
        if not chosen or not set(strides.values()) <= set(_KNOWN_STRIDES):
            raise SettingError(
                f'the layers of {printable(model)} have cells of {strides or "other sizes"} px; '
                f'allowed: {", ".join(map(str, wanted))}. Name other layers'
            )
        cut = _cut(network, [given[name] for name in chosen])
        cut.reshape([1, 3, -1, -1])
        return _features_of(cut, [strides[name] for name in chosen], is_imagenet=True)
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise SettingError(
            f'{printable(model)} is no usable model: {lines[-1].strip()}'
        ) from error


def _cut(network: openvino.Model, layers: Sequence[openvino.Output]) -> openvino.Model:
    """
    Give the part of a network that some of its layers need.

    """
    import openvino

    # An output of a network has nothing behind it but the end of the network.
    ends = [
        layer.get_node().input_value(0) if layer.get_node().get_type_name() == 'Result' else layer
        for layer in layers
    ]
    return openvino.Model(ends, network.get_parameters(), 'backbone')


def _allows(length: openvino.Dimension, value: int) -> bool:
    return bool(length.is_dynamic or length.get_length() == value)


def _named_layers(network: openvino.Model, layers: Sequence[str]) -> dict[str, openvino.Output]:
    """
    Give the outputs of named layers; ONNX names a layer, and what it gives, differently.

    """
    known: dict[str, openvino.Output] = {}
    for step in network.get_ordered_ops():
        for output in step.outputs():
            for name in (step.get_friendly_name(), *output.get_names()):
                known.setdefault(name, output)
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=4, cutoff=0.3)
            raise SettingError(
                f'the backbone has no layer {shown(layer)}; similar: {", ".join(near) or "none"}'
            )
    return {layer: known[layer] for layer in layers}


def _found_layers(network: openvino.Model) -> dict[str, openvino.Output]:
    """
    Give, for each stride, the first layer that a layer of a larger stride is made from.

    """
    side = _plane(network.inputs[0])
    found: dict[int, openvino.Output] = {}
    for step in network.get_ordered_ops():
        for output in step.outputs():
            plane = _plane(output)
            users = [
                _plane(given)
                for user in output.get_target_inputs()
                for given in user.get_node().outputs()
            ]
            # The last features may be averaged to a list without height and width.
            is_last = plane > 0 and side // plane == _LAST_STRIDE and 0 in users
            if is_last or (plane and any(user and user < plane for user in users)):
                found.setdefault(side // plane, output)
    return {
        output.get_node().get_friendly_name(): output
        for stride, output in sorted(found.items())
        if stride in _KNOWN_STRIDES
    }


def _plane(output: openvino.Output) -> int:
    """
    Give the height of a feature map; 0 for anything else.

    """
    shape = output.get_partial_shape()
    return int(shape[2].get_length()) if len(shape) == 4 and shape.is_static else 0


def _features_of(
    network: openvino.Model, strides: Sequence[int], *, is_imagenet: bool = False
) -> openvino.Model:
    """
    Bring the outputs of a network to one grid, and its input to the images of scorers.

    """
    from openvino import Layout, Model, preprocess, Type
    from openvino import opset13 as op

    maps = []
    for output, stride in zip(network.outputs, strides, strict=True):
        values = output.get_node().input_value(0)
        if stride < STRIDE_PX:
            cells = STRIDE_PX // stride
            values = op.avg_pool(
                values, [cells] * 2, [0, 0], [0, 0], [cells] * 2, exclude_pad=True
            ).output(0)
        elif stride > STRIDE_PX:
            times = np.full(2, stride / STRIDE_PX, np.float32)
            values = op.interpolate(
                values, times, 'linear_onnx', 'scales', axes=np.array([2, 3])
            ).output(0)
        maps.append(values)
    joined = op.concat(maps, 1)
    count = joined.output(0).get_partial_shape()[1].get_length()
    if count > _MOST_CHANNELS:
        chosen = np.random.default_rng(_SEED).permutation(count)[:_MOST_CHANNELS]
        joined = op.gather(joined, np.sort(chosen), np.array(1))
    features = op.transpose(joined, np.array([0, 2, 3, 1]))
    features.output(0).set_names({'features'})
    made = Model([features.output(0)], network.get_parameters(), 'backbone')
    steps = preprocess.PrePostProcessor(made)
    image = steps.input()
    image.tensor().set_element_type(Type.u8).set_layout(Layout('NHWC'))
    image.preprocess().convert_element_type(Type.f32)
    if is_imagenet:
        image.tensor().set_color_format(preprocess.ColorFormat.BGR)
        image.preprocess().convert_color(preprocess.ColorFormat.RGB)
        image.preprocess().mean([255 * value for value in _MEAN])
        image.preprocess().scale([255 * value for value in _DEVIATION])
        image.model().set_layout(Layout('NCHW'))
    else:
        image.model().set_layout(Layout('NHWC'))
    built = steps.build()
    built.inputs[0].set_names({'image'})
    return built
