# SPDX-License-Identifier: Apache-2.0
"""
A small recipe of each scorer, made in a moment; each for images of another size.

"""

from dataclasses import replace
from pathlib import Path
import tempfile

import numpy as np

from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.recipe import MeasureLimit, measures_of, ScorerRecipe
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.scoring.frame_scorer import RegionSettings

SIZES = {
    'ssim': (64, 48),
    'variation': (48, 48),
    'template': (80, 64),
    'patch_statistics': (96, 64),
    'features': (72, 64),
    'deep_features': (88, 64),
    'autoencoder': (32, 32),
    'openvino': (40, 32),
}
PREPROCESSING = PreprocessingSettings(light='none', alignment=AlignmentSettings(kind='none'))


def good_frames(scorer, count=10):
    """
    Draw good parts of the size that the recipe of a scorer is for.

    """
    width, height = SIZES[scorer]
    random = np.random.default_rng(sum(scorer.encode()))
    plain = np.full((height, width), 90.0)
    plain[height // 4 : -height // 4, width // 4 : -width // 4] = 170
    noise = random.normal(0, 4, (count, height, width))
    return list(np.clip(plain + noise, 0, 255).astype(np.uint8))


def write_recipe_of(scorer, folder: Path) -> Path:
    """
    Write the recipe of one scorer; its name is the folder's.

    """
    frames = good_frames(scorer)
    with tempfile.TemporaryDirectory() as models:
        taught = 'ssim' if scorer == 'autoencoder' else scorer
        settings = {}
        if scorer == 'openvino':
            settings = {scorer: _model(Path(models))}
        elif scorer in ('features', 'deep_features'):
            settings = {scorer: _backbone(Path(models), scorer)}
        recipe = teach(
            frames,
            name=folder.name,
            options=TeachOptions(
                scorers=(taught,), scorer_settings=settings, preprocessing=PREPROCESSING
            ),
        )
    if scorer == 'autoencoder':
        recipe = replace(recipe, scorers={scorer: _autoencoder(frames)})
    write_recipe(recipe, folder)
    return folder


def _model(folder):
    from support.networks import files_of, network, op

    width, height = SIZES['openvino']

    def mean(image):
        return {'score': op.reduce_mean(image, op.constant([1, 2, 3]), False)}

    for name, content in files_of(network([1, 3, height, width], mean)).items():
        (folder / name).write_bytes(content.tobytes())
    return {'model': str(folder / 'model.xml')}


def _backbone(folder, scorer):
    from support.small_backbone import keep_small_backbone

    return {'backbone': keep_small_backbone(folder, scorer), 'side_px': 64, 'dimensions': 8}


def _autoencoder(frames):
    from support.networks import autoencoder_files, OWN

    own = {**OWN, 'preprocessing_fingerprint': PREPROCESSING.fingerprint()}
    valid = np.ones(frames[0].shape, np.bool_)
    parts = [Prepared(frame, valid, np.eye(2, 3), None) for frame in frames]
    fitted = AutoencoderScorer.of_model(autoencoder_files(own=own), parts, {})
    limits = {
        'reconstruction_error': MeasureLimit(0.002, 0.0005),
        'peak_residual': MeasureLimit(0.5, 0.1),
        'latent_density': MeasureLimit(0.2, 0.5),
        'largest_region': MeasureLimit(40.0, 0.0),
    }
    return ScorerRecipe(
        settings=dict(AutoencoderScorer.default_settings),
        region=RegionSettings(0.2, 4),
        limits=limits,
        arrays=fitted.to_arrays(),
        good={spec.name: np.linspace(0.1, 0.4, 5) for spec in measures_of('autoencoder')},
    )
