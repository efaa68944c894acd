# SPDX-License-Identifier: Apache-2.0
"""
Teach the images of a session: from a few settings to a draft.

"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.evaluation.self_test_result import SelfTest
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.image_quality import image_quality
from anomaly_inspection.learning.teach import DEFAULT_FALSE_REJECT_RATE, teach, TeachOptions
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.recipe import Provenance
from anomaly_inspection.teaching.after_teaching import images_to_keep, short_self_test
from anomaly_inspection.teaching.autoencoder_training import (
    AUTOENCODER,
    check_training_packages,
    with_trained_autoencoder,
)
from anomaly_inspection.teaching.draft import DraftReport, RECIPE, write_report
from anomaly_inspection.teaching.session import recipe_name_of, TeachingFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.progress import Progress
    from anomaly_inspection.teaching.session import TeachingSession

_DEFAULT_BUDGET_MS = TeachOptions.speed_budget_ms
LONGEST_BUDGET_MS = 60_000.0


@dataclass(frozen=True)
class TeachJob:
    """
    What to teach, as JSON can hold it. See Teach.action for the meaning of each value.

    Parameters
    ----------
    folder : str
        The folder of all sessions.
    session : str
        Name of the session.
    work : str
        Folder for the draft; it must not exist.
    region : (left, top, width, height), pixels, or empty
        Region of interest; empty = the whole image.
    false_reject_rate, speed_budget_ms : float
        0 = the default.

    """

    folder: str
    session: str
    work: str
    recipe_name: str = ''
    scorers: tuple[str, ...] = ()
    region: tuple[int, ...] = ()
    false_reject_rate: float = 0.0
    tolerance: str = ''
    highlight_colours: bool = False
    speed_budget_ms: float = 0.0
    taught_by: str = ''

    @property
    def trains(self) -> bool:
        """
        Whether an autoencoder is wanted as well.

        """
        return AUTOENCODER in self.scorers

    def options(self) -> TeachOptions:
        """
        Give the options of teaching; raises SettingError when one is out of range.

        """
        # NaN is refused as well.
        if not 0.0 <= self.speed_budget_ms <= LONGEST_BUDGET_MS:
            raise SettingError(
                f'speed_budget_ms is {self.speed_budget_ms:g}; allowed: over 0 to '
                f'{LONGEST_BUDGET_MS:g} ms, or 0 = {_DEFAULT_BUDGET_MS:g} ms'
            )
        return TeachOptions(
            scorers=tuple(one for one in self.scorers if one != AUTOENCODER) or 'auto',
            speed_budget_ms=self.speed_budget_ms or _DEFAULT_BUDGET_MS,
            region_of_interest=RegionOfInterest(*self.region) if self.region else None,
            highlight_colours=self.highlight_colours,
            false_reject_rate=self.false_reject_rate or DEFAULT_FALSE_REJECT_RATE,
            tolerance=Tolerance.from_text(self.tolerance) if self.tolerance else Tolerance(),
        )


def run_teach_job(job: TeachJob, progress: Progress = no_progress) -> DraftReport:
    """
    Teach a draft into the folder `job.work`.

    Raises
    ------
    InspectionError
        When the images or a setting do not allow it.

    """
    options = job.options()
    if job.trains:
        # Now, not after minutes of teaching.
        check_training_packages()
    session = TeachingFolder(Path(job.folder)).open(job.session)
    name = job.recipe_name or recipe_name_of(session.product)
    good = GoodImages.checked(_images(session, progress), region=options.region_of_interest)
    quality = image_quality(good.without(good.unfit), progress)
    source = f'teaching session {session.name}'
    taught = teach(
        good,
        name=name,
        product=session.product,
        quality=quality,
        provenance=Provenance(taught_by=job.taught_by, source=source),
        options=options,
        progress=progress,
    )
    work = Path(job.work)
    try:
        work.mkdir(parents=True)
        if job.trains:
            taught = with_trained_autoencoder(
                taught,
                good.without({*good.unfit, *taught.provenance.left_out}),
                work,
                trained_by=job.taught_by,
                source=source,
                progress=progress,
            )
        progress(0, 1, 'writing the draft')
        recipe = write_recipe(taught, work / RECIPE / name, images=images_to_keep(taught, good))
        result: SelfTest = short_self_test(recipe, good, progress)
        return write_report(recipe, quality, result, work)
    except OSError as error:
        raise SettingError(f'cannot write the draft to {work}: {error.strerror}') from error


def _images(
    session: TeachingSession, progress: Progress
) -> Iterator[tuple[str, NDArray[np.uint8] | FrameError]]:
    names = session.image_names()
    for done, name in enumerate(names, start=1):
        try:
            yield name, session.read_image(name)
        except FrameError as error:
            yield name, error
        progress(done, len(names), 'reading the images')
