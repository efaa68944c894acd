# SPDX-License-Identifier: Apache-2.0
"""
What the options of `teach` say about scorers, their settings and networks.

"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from anomaly_inspection.errors import SettingError

Scorers = tuple[str, ...] | Literal['auto']
Settings = dict[str, dict[str, Any]]


def named_scorers(scorers: tuple[str, ...]) -> Scorers:
    """
    Give the scorers that were named; 'auto' alone, or when none was.

    """
    if scorers and 'auto' not in scorers:
        return scorers
    if len(scorers) > 1:
        raise SettingError(
            f'--scorer {" ".join(scorers)}: auto chooses the scorers, so give auto alone'
        )
    return 'auto'


def scorer_settings(texts: tuple[str, ...]) -> Settings:
    """
    Read 'scorer.key=value'; values that read as numbers are numbers.

    """
    settings: Settings = {}
    for text in texts:
        name, equals, value = text.partition('=')
        scorer, dot, key = name.partition('.')
        if not (equals and dot and scorer and key):
            raise SettingError(
                f'--setting {text} is refused; allowed: scorer.key=value, such as '
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


def network_settings(
    scorers: tuple[str, ...], model: Path | None, metadata: Path | None
) -> dict[str, dict[str, str]]:
    """
    Give the settings of the scorer openvino; refuse early what cannot be taught.

    """
    from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
    from anomaly_inspection.scoring.openvino import model_files, OpenvinoScorer

    if AutoencoderScorer.name in scorers:
        AutoencoderScorer.fit((), {})
    if (OpenvinoScorer.name in scorers) != (model is not None) or (metadata and not model):
        raise SettingError(
            '--scorer openvino and --model go together; --model-metadata needs both'
        )
    if model is None:
        return {}
    model_files(model, metadata or '')
    return {OpenvinoScorer.name: {'model': str(model), 'metadata': str(metadata or '')}}


def backbones(
    scorers: tuple[str, ...], backbone: Path | None, layers: str | None
) -> dict[str, str]:
    """
    Convert a pretrained network; give its name in the user's cache for each scorer that runs it.

    """
    from anomaly_inspection.learning.backbones import keep_backbone_of_file, LAYER_STRIDES

    taking = [scorer for scorer in scorers if scorer in LAYER_STRIDES]
    if not taking or backbone is None:
        raise SettingError(
            f'--backbone needs --scorer {" or ".join(LAYER_STRIDES)}, and --backbone-layers needs '
            '--backbone'
        )
    names = layers.split(',') if layers else ()
    return {scorer: keep_backbone_of_file(backbone, names, scorer) for scorer in taking}
