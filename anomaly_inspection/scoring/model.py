# SPDX-License-Identifier: Apache-2.0
"""
Networks at run time: OpenVINO models, read from memory and run on the processor.

A model is the two files of OpenVINO's IR, 'model.xml' and 'model.bin', as arrays of bytes. One
that this package has trained says in its rt_info, under 'anomaly_inspection', what it is: `kind`,
`architecture`, `preprocessing_fingerprint` and `format_version`. OpenVINO is imported when the
first model is read: recipes without a network neither need nor load it.

"""

from __future__ import annotations

from dataclasses import dataclass
import functools
import math
import re
import threading
from typing import Any, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    import openvino

MODEL_XML, MODEL_BIN = 'model.xml', 'model.bin'
FORMAT_VERSION = 1

# One core: the others belong to the camera, the decider and the other scorers.
_CONFIGURATION = {
    'PERFORMANCE_HINT': 'LATENCY',
    'INFERENCE_NUM_THREADS': 1,
    # Pinned, the networks of several scorer processes would all wait for the same core.
    'ENABLE_CPU_PINNING': False,
    # Processors with bfloat16 would use it: faster, and off by a hundredth.
    'INFERENCE_PRECISION_HINT': 'f32',
}
_OWN = 'anomaly_inspection'
# 64 channels of 5 megapixels, as 32-bit numbers, are 1.3 GB.
_LARGEST_STEP_BYTES = 2**31


class Model:
    """
    A network, ready to run. Threads that run it at once wait for each other; see `allow_threads`.

    Parameters
    ----------
    network : openvino.Model
        As `read_network` gives it.
    input_shape : tuple of int
        Of its one input; what the network leaves open becomes static.

    Raises
    ------
    RecipeError
        When the network cannot be compiled for that shape, or one of its steps takes too much
        memory.

    """

    def __init__(self, network: openvino.Model, input_shape: tuple[int, ...]) -> None:
        try:
            network.reshape(input_shape)
            _check_size(network)
            self._compiled = _core().compile_model(network, 'CPU', _CONFIGURATION)
            self._type = network.inputs[0].get_element_type().to_dtype()
        except RuntimeError as error:
            raise RecipeError(
                f'{MODEL_XML} cannot be compiled for an input of {input_shape}: {_told(error)}'
            ) from error
        self._network = network
        self._requests = threading.local()
        self._names = [frozenset(output.get_names()) for output in network.outputs]

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads run the network at the same time, each on a core of its own.

        """
        if count == self._compiled.get_property('NUM_STREAMS'):
            return
        several = {'NUM_STREAMS': count, 'INFERENCE_NUM_THREADS': count}
        self._compiled = _core().compile_model(self._network, 'CPU', _CONFIGURATION | several)
        self._requests = threading.local()

    def outputs(self, values: NDArray[Any]) -> list[tuple[frozenset[str], NDArray[Any]]]:
        """
        Run the network once.

        Parameters
        ----------
        values : ndarray of float32, of the input's shape
            Converted to the input's type.

        Returns
        -------
        list of (names, ndarray)
            In the order of the network; floating-point outputs as float32.

        Raises
        ------
        RecipeError
            When the network fails, or gives values that are not finite.

        """
        if self._type.kind in 'ui' and values.dtype != self._type:
            values = np.rint(values)
        values = np.ascontiguousarray(values, self._type)
        try:
            results = self._request().infer({0: values}, share_inputs=True).to_tuple()
        except RuntimeError as error:
            raise RecipeError(f'the network failed: {_told(error)}') from error
        outputs = []
        for names, result in zip(self._names, results, strict=True):
            is_float = result.dtype.kind == 'f'
            if is_float and not np.isfinite(result).all():
                raise RecipeError(
                    f'output {_called(names)} of the network holds values that are not finite'
                )
            outputs.append((names, result.astype(np.float32, copy=False) if is_float else result))
        return outputs

    def _request(self) -> openvino.InferRequest:
        if not hasattr(self._requests, 'own'):
            self._requests.own = self._compiled.create_infer_request()
        return self._requests.own


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """
    An autoencoder that this package has trained.

    Parameters
    ----------
    model : Model
        What runs.
    side_px, channels : int
        Of the square input; 1 channel = gray, 3 = BGR.
    latent_size : int
        How many numbers the bottleneck has.
    architecture : str
        Its name in the package.
    preprocessing_fingerprint : str
        Of the images it was trained on, 64 hexadecimal digits.

    """

    model: Model
    side_px: int
    channels: int
    latent_size: int
    architecture: str
    preprocessing_fingerprint: str

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """
        Read and check the model among the arrays of a recipe.

        Raises
        ------
        RecipeError
            When it is missing, corrupt, foreign, of a newer format, or of other shapes than an
            autoencoder of this package has.

        """
        network = read_network(arrays)
        own = _own_information(network, 'autoencoder')
        taken = _static_shape(network.inputs[0])
        is_image = len(taken) == 4 and taken[1] == taken[2] > 0
        if not is_image or taken[0] != 1 or taken[3] not in (1, 3):
            raise RecipeError(
                f'{MODEL_XML} takes {network.inputs[0].get_partial_shape()}; allowed: 1 x side x '
                'side x 1 (gray) or 3 (BGR)'
            )
        given = {
            name: _static_shape(output)
            for output in network.outputs
            for name in output.get_names()
        }
        latent = given.get('latent', ())
        if given.get('reconstruction') != taken or len(latent) != 2 or latent[0] != 1:
            raise RecipeError(
                f'{MODEL_XML} gives {given}; allowed: reconstruction, of the size of the input, '
                'and latent, 1 x n'
            )
        return cls(
            Model(network, taken),
            taken[1],
            taken[3],
            latent[1],
            own['architecture'],
            own['preprocessing_fingerprint'],
        )

    def run(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Reconstruct one image.

        Parameters
        ----------
        image : ndarray of float32, (side, side, channels)
            0 to 1, as `net_input` gives it.

        Returns
        -------
        reconstruction : ndarray of float32, (side, side, channels)
        latent : ndarray of float32, (latent_size,)

        """
        found = {
            name: values
            for names, values in self.model.outputs(image[np.newaxis])
            for name in names
        }
        return found['reconstruction'][0], found['latent'][0]


def read_network(arrays: Mapping[str, NDArray[Any]]) -> openvino.Model:
    """
    Read a network from 'model.xml' and 'model.bin' among the arrays of a recipe.

    Raises
    ------
    RecipeError
        When OpenVINO is not installed, a file is missing, or the two are not a model.

    """
    for key in (MODEL_XML, MODEL_BIN):
        if key not in arrays:
            raise RecipeError(f'{key} is missing; there are: {", ".join(sorted(arrays))}')
    structure, weights = (np.asarray(arrays[key]).tobytes() for key in (MODEL_XML, MODEL_BIN))
    try:
        network = _core().read_model(structure, weights)
    except RuntimeError as error:
        raise RecipeError(
            f'{MODEL_XML} and {MODEL_BIN} ({len(structure)} and {len(weights)} bytes) are no '
            f'readable OpenVINO model: {_told(error)}'
        ) from error
    if len(network.inputs) != 1:
        raise RecipeError(f'{MODEL_XML} has {len(network.inputs)} inputs; allowed: one, the image')
    return network


_first_use = threading.Lock()


def _core() -> openvino.Core:
    """
    Give the one core of OpenVINO of this process.

    What its Python module prepares at first use locks up the whole process when two threads come
    to it at once: one waits for Python's lock, the other holds it and waits for the first. So one
    thread does all of it, and the others wait here.

    """
    with _first_use:
        return _prepared_core()


@functools.cache
def _prepared_core() -> openvino.Core:
    try:
        import openvino
    except ImportError as error:
        raise RecipeError(
            f'the recipe holds a network, which needs OpenVINO ({error}): pip install openvino'
        ) from error
    # The table of NumPy's types, and NumPy's own functions.
    openvino.Type.f32.to_dtype()
    openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()


def _own_information(network: openvino.Model, kind: str) -> dict[str, str]:
    """
    Give the metadata of a network of this package, checked.

    """
    own = {
        key: str(network.get_rt_info([_OWN, key]).astype(str))
        for key in ('kind', 'architecture', 'preprocessing_fingerprint', 'format_version')
        if network.has_rt_info([_OWN, key])
    }
    if len(own) < 4:
        raise RecipeError(
            f'{MODEL_XML} was not made by this package: its rt_info says {own}; for a model from '
            "elsewhere there is the scorer 'openvino'"
        )
    version = own['format_version']
    if not re.fullmatch('[0-9]{1,9}', version) or int(version) != FORMAT_VERSION:
        is_newer = version.isdigit() and int(version) > FORMAT_VERSION
        raise RecipeError(
            f'{MODEL_XML} has format version {version!r}; allowed: {FORMAT_VERSION}'
            + (', as this version of the package is older than the model' if is_newer else '')
        )
    if own['kind'] != kind:
        raise RecipeError(f'{MODEL_XML} is of the kind {own["kind"]!r}; allowed: {kind!r}')
    if not re.fullmatch('[0-9a-f]{64}', own['preprocessing_fingerprint']):
        raise RecipeError(
            f'{MODEL_XML} has the preprocessing fingerprint '
            f'{own["preprocessing_fingerprint"]!r}; allowed: 64 hex digits'
        )
    return own


def _check_size(network: openvino.Model) -> None:
    """
    Refuse a network that a few bytes make huge: a step may spread one value over gigabytes.

    """
    for step in network.get_ops():
        for output in step.outputs():
            size = math.prod(_static_shape(output)) * output.get_element_type().size
            if size > _LARGEST_STEP_BYTES:
                raise RecipeError(
                    f'{MODEL_XML}: step {shown(step.get_friendly_name())} takes '
                    f'{size / 1e6:.0f} MB of memory; allowed: {_LARGEST_STEP_BYTES / 1e6:.0f} MB'
                )


def _static_shape(port: openvino.Output) -> tuple[int, ...]:
    """
    Give the shape of an input or output; empty when any of it is dynamic.

    """
    shape = port.get_partial_shape()
    return tuple(shape.to_shape()) if shape.is_static else ()


def _called(names: frozenset[str]) -> str:
    return repr(min(names)) if names else 'without a name'


def _told(error: RuntimeError) -> str:
    """
    Give the last line of OpenVINO's message; the lines before it are places in its source.

    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
