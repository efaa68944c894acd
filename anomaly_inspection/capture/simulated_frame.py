# SPDX-License-Identifier: Apache-2.0
"""
Frames of the simulated line: pump bodies on a conveyor belt as an industrial camera sees them,
with ground truth.

Every picture is a pure function of the settings and the part's index: no call depends on an
earlier one.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_defects import (
    ACCEPTABLE,
    DefectKind,
    DRAWN_KINDS,
    fit_defect,
    measure,
    MeasuredDefect,
    MISSING_BORE,
)
from anomaly_inspection.capture.simulated_part import (
    PART_RADIUS,
    Plane,
    SPOTFACE_RADIUS,
    Surface,
)
from anomaly_inspection.capture.simulated_scene import (
    build_scene,
    GRAIN_ROOM_PX,
    NOISE_ROOM_PX,
    SHADOW_DENSITY,
)
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings, SIZE_TOLERANCE
from anomaly_inspection.capture.source import Truth
from anomaly_inspection.errors import SettingError

METAL_TINT_BGR = (1.035, 1.0, 0.985)
CAST_TINT_BGR = (0.985, 1.0, 1.02)
# Beside the ring light a weaker lamp stands at the upper left: where from the part, and how
# strong.
LAMP_X, LAMP_Y, LAMP_STRENGTH = -0.6, -0.8, 0.6
SHADOW_SHIFT = (7.0, 10.0)
_RECENT_PARTS = 1000


@dataclass(frozen=True)
class PartPose:
    """
    How a part lies in its frame.

    Parameters
    ----------
    x_px, y_px : float
        The part's centre, frame pixels (pixel centres at integers).
    angle_deg : float
        How far it is turned from x towards y (clockwise on the screen), degrees.
    scale : float
        Size of this part beside a nominal one.

    """

    x_px: float
    y_px: float
    angle_deg: float
    scale: float


@dataclass(frozen=True)
class SimulatedPart:
    """
    One frame of the simulated line with all that is known of it.

    Parameters
    ----------
    image : ndarray of uint8, (H, W, 3) BGR
        The frame.
    truth : Truth
        Its defect, measured on the noise-free image; the mask is all False for a good part.
    pose : PartPose
        How the part lies.

    """

    image: NDArray[np.uint8]
    truth: Truth
    pose: PartPose


def render_part(
    settings: SimulatedLineSettings, index: int, *, with_defect: bool = True
) -> SimulatedPart:
    """
    Render one part; the same settings and index give the same picture, byte for byte.

    Parameters
    ----------
    settings : SimulatedLineSettings
        The line. Without its noise (`noise_levels=0`) everything else stays as it was.
    index : int
        Which part, 0 or more.
    with_defect : bool
        False leaves out the defect this part would have; nothing else changes, the noise included.

    Raises
    ------
    SettingError
        When `index` is negative.

    """
    if index < 0:
        raise SettingError(f'part index {index} is out of range: 0 or more is allowed')
    return renderer(settings).render(index, with_defect)


@lru_cache(maxsize=8)
def renderer(settings: SimulatedLineSettings) -> Renderer:
    return Renderer(settings)


# Every thing that varies has its own stream of random numbers, so that changing one leaves the
# others as they were.
_POSE, _LIGHT, _FACE, _BELT, _NOISE, _DEFECT = range(6)


@dataclass(frozen=True)
class _GoodPart:
    """
    A part before its defect: how it lies and is lit, its gray levels on the canvas, its noise-free
    frame.

    """

    index: int
    pose: PartPose
    light: Plane
    tone: Plane
    picture: Plane


class Renderer:
    """
    Renders the parts of one line.

    """

    def __init__(self, settings: SimulatedLineSettings) -> None:
        self._settings = settings
        self._scene = build_scene(settings.width_px, settings.height_px, settings.scale)
        self._recent_truths: list[tuple[int, Truth] | None] = [None] * _RECENT_PARTS

    def render(self, index: int, with_defect: bool) -> SimulatedPart:
        """
        Render one part, as `render_part` does.

        """
        pose = self._pose(index)
        light = self._light(index)
        tone = self._tone(index, pose, self._scene.model.drilled)
        picture = self._picture(index, pose, tone, light)
        good = _GoodPart(index, pose, light, tone, picture)
        mask = np.zeros(picture.shape[:2], np.bool_)
        truth = Truth(mask=mask)
        rng = self._stream(index, _DEFECT)
        if with_defect and rng.random() < self._settings.defect_rate:
            kind = str(rng.choice(self._settings.kinds))
            if kind == MISSING_BORE:
                defect, area = self._missing_bore(rng, good)
            else:
                defect, area = self._drawn_defect(rng, good, DRAWN_KINDS[kind])
            mask[area] = defect.mask
            picture[area] = defect.patch
            truth = Truth(
                defect=kind,
                diameter_px=defect.diameter_px,
                contrast_levels=defect.contrast_levels,
                mask=mask,
            )
        if with_defect:
            # One assignment: another thread sees the old entry or the new one, never half of it.
            self._recent_truths[index % _RECENT_PARTS] = index, replace(truth, mask=None)
        return SimulatedPart(self._exposed(index, picture), truth, pose)

    def truth_without_mask(self, index: int) -> Truth:
        """
        Give what is known of a part but for its mask; renders it unless that was done lately.

        """
        recent = self._recent_truths[index % _RECENT_PARTS]
        if recent is not None and recent[0] == index:
            return recent[1]
        return replace(self.render(index, True).truth, mask=None)

    def part_share(self, pose: PartPose) -> Plane:
        """
        Give how much of each pixel of the frame shows the part, 0..1.

        """
        model = self._scene.model
        affine = self._affine(pose, model.density, model.centre, (0.0, 0.0))
        size = (self._settings.width_px, self._settings.height_px)
        return cv2.warpAffine(model.alpha, affine, size, flags=cv2.INTER_LINEAR)

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self._settings.seed, index, purpose]))

    def _pose(self, index: int) -> PartPose:
        settings = self._settings
        shift_x, shift_y, turn, size = self._stream(index, _POSE).uniform(-1.0, 1.0, 4)
        return PartPose(
            x_px=(settings.width_px - 1) / 2 + settings.shift_px * shift_x,
            y_px=(settings.height_px - 1) / 2 + settings.shift_px * shift_y,
            angle_deg=settings.rotation_deg * turn,
            scale=1.0 + SIZE_TOLERANCE * settings.part_variation * size,
        )

    def _light(self, index: int) -> Plane:
        """
        Relative light over the frame: vignette, gain of this exposure, slope.

        """
        gain, slope_x, slope_y = self._stream(index, _LIGHT).uniform(-1.0, 1.0, 3)
        slope = self._settings.light / 8
        scene = self._scene
        light = cv2.addWeighted(
            scene.ramp_x, float(slope * slope_x), scene.ramp_y, float(slope * slope_y), 1.0
        )
        return cv2.multiply(light, scene.vignette, scale=float(1.0 + self._settings.light * gain))

    def _tone(self, index: int, pose: PartPose, surface: Surface) -> Plane:
        """
        Gray levels of this part on the canvas: nominal part, lamp, sheen, tool marks and casting
        grain.

        """
        model, scene = self._scene.model, self._scene
        rng = self._stream(index, _FACE)
        turn = np.radians(pose.angle_deg)
        lamp_x = LAMP_STRENGTH * (LAMP_X * np.cos(turn) + LAMP_Y * np.sin(turn))
        lamp_y = LAMP_STRENGTH * (LAMP_Y * np.cos(turn) - LAMP_X * np.sin(turn))
        sheen_angle = 2 * (turn - np.arctan2(LAMP_Y, LAMP_X))
        varying = self._settings.part_variation
        phase = rng.uniform(0.0, 2 * np.pi)
        # Some of the tool marks are the tool's and the same on every part, the rest are this
        # part's own.
        own = 0.75 * varying
        offsets = rng.integers(0, GRAIN_ROOM_PX, 4) if varying > 0 else np.zeros(4, np.int64)
        grain = scene.grain[offsets[0] :, offsets[1] :][: model.size, : model.size]
        mottle = scene.mottle[offsets[2] :, offsets[3] :][: model.size, : model.size]
        tone = cv2.addWeighted(surface.side[0], lamp_x, surface.side[1], lamp_y, 0.0)
        for plane, weight in (
            (model.sheen[0], np.cos(sheen_angle)),
            (model.sheen[1], -np.sin(sheen_angle)),
            (model.turning[0], 0.6 + own * np.cos(phase)),
            (model.turning[1], own * np.sin(phase)),
            (mottle, 1.6 * varying),
        ):
            tone = cv2.scaleAdd(plane, float(weight), tone)
        tone = cv2.add(tone, cv2.multiply(grain, model.cast))
        return cv2.add(tone, surface.tone)

    def _affine(
        self, pose: PartPose, density: float, centre: float, shift: tuple[float, float]
    ) -> NDArray[np.float64]:
        """
        Map from a canvas of that density to the frame.

        """
        turn = np.radians(pose.angle_deg)
        factor = self._settings.scale * pose.scale / density
        rotation = factor * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        place = np.array([pose.x_px + shift[0], pose.y_px + shift[1]])
        return np.column_stack([rotation, place - rotation @ (centre, centre)])

    def _window(self, x_px: float, y_px: float, half: int) -> tuple[slice, slice]:
        """
        Rows and columns of the frame within `half` pixels of a point.

        """
        x, y = round(x_px), round(y_px)
        return (
            slice(max(0, y - half), min(self._settings.height_px, y + half + 1)),
            slice(max(0, x - half), min(self._settings.width_px, x + half + 1)),
        )

    def _picture(self, index: int, pose: PartPose, tone: Plane, light: Plane) -> Plane:
        """
        The noise-free frame, float32 BGR, 0..255.

        """
        settings, scene, model = self._settings, self._scene, self._scene.model
        frame = self._belt_piece(index)
        window = self._window(pose.x_px, pose.y_px, round((PART_RADIUS + 46.0) * settings.scale))
        corner = (window[1].start, window[0].start)
        size = (window[1].stop - corner[0], window[0].stop - corner[1])

        def warped(
            planes: Plane, density: float, shift: tuple[float, float] = (0.0, 0.0)
        ) -> Plane:
            centre = (planes.shape[0] - 1) / 2
            to_frame = self._affine(pose, density, centre, shift)
            to_frame[:, 2] -= corner
            return cv2.warpAffine(planes, to_frame, size, flags=cv2.INTER_LINEAR)

        far = (SHADOW_SHIFT[0] * settings.scale, SHADOW_SHIFT[1] * settings.scale)
        shade = warped(scene.shadow[:, :, 0], SHADOW_DENSITY, far)
        contact = warped(scene.shadow[:, :, 1], SHADOW_DENSITY)
        part, alpha, cast = cv2.split(
            warped(cv2.merge([tone, model.alpha, model.cast]), model.density)
        )
        belt_light = (1.0 - 0.5 * shade) * (1.0 - 0.35 * contact) * (1.0 - alpha)
        part *= alpha
        patch = frame[window]
        for channel in range(3):
            tint = METAL_TINT_BGR[channel] + cast * (
                CAST_TINT_BGR[channel] - METAL_TINT_BGR[channel]
            )
            patch[:, :, channel] = patch[:, :, channel] * belt_light + part * tint
        frame = cv2.multiply(frame, cv2.merge([light, light, light]))
        return np.clip(frame, 0.0, 255.0, out=frame)

    def _belt_piece(self, index: int) -> Plane:
        """
        The piece of belt that lies under the camera, a copy.

        """
        settings, belt = self._settings, self._scene.belt
        row, column, tone = self._stream(index, _BELT).uniform(0.0, 1.0, 3)
        amount = min(1.0, settings.background_variation)
        row = int(row * amount * (belt.shape[0] - settings.height_px))
        column = int(column * amount * (belt.shape[1] - settings.width_px))
        piece = belt[row : row + settings.height_px, column : column + settings.width_px]
        return piece * np.float32(1.0 + 0.05 * settings.background_variation * (2 * tone - 1))

    def _exposed(self, index: int, frame: Plane) -> NDArray[np.uint8]:
        """
        The frame as the sensor gives it: with noise, in whole levels.

        """
        # A fresh cut of one large field of noise: drawing a million new numbers takes longer than
        # all the rest.
        row, column = self._stream(index, _NOISE).integers(0, NOISE_ROOM_PX, 2)
        height, width = frame.shape[:2]
        noise = self._scene.noise[row : row + height, column : column + width]
        exposed = cv2.addWeighted(
            frame, 1.0, noise, self._settings.noise_levels, 0.0, dtype=cv2.CV_8U
        )
        return np.asarray(exposed, np.uint8)

    def _missing_bore(
        self, rng: np.random.Generator, good: _GoodPart
    ) -> tuple[MeasuredDefect, tuple[slice, slice]]:
        """
        The part with one bolt bore never drilled, and where in the frame that is.

        """
        model = self._scene.model
        x, y = model.bolt_bores[int(rng.integers(len(model.bolt_bores)))]
        reach = round(SPOTFACE_RADIUS * model.density)
        around = (
            slice(round(y) - reach, round(y) + reach + 1),
            slice(round(x) - reach, round(x) + reach + 1),
        )
        tone = good.tone.copy()
        tone[around] = self._tone(good.index, good.pose, model.undrilled)[around]
        damaged = self._picture(good.index, good.pose, tone, good.light)
        frame_x, frame_y = self._to_frame(good.pose, x, y)
        area = self._window(frame_x, frame_y, round(1.5 * SPOTFACE_RADIUS * self._settings.scale))
        mask, diameter, contrast = measure(good.picture[area], damaged[area])
        patch = np.where(mask[:, :, None], damaged[area], good.picture[area])
        return MeasuredDefect(patch, mask, diameter, contrast), area

    def _to_frame(self, pose: PartPose, x: float, y: float) -> tuple[float, float]:
        model = self._scene.model
        affine = self._affine(pose, model.density, model.centre, (0.0, 0.0))
        frame_x, frame_y = affine @ (x, y, 1.0)
        return float(frame_x), float(frame_y)

    def _drawn_defect(
        self, rng: np.random.Generator, good: _GoodPart, kind: DefectKind
    ) -> tuple[MeasuredDefect, tuple[slice, slice]]:
        """
        The part with one defect of that kind, and where in the frame that is.

        """
        settings = self._settings
        diameter_px = float(np.exp(rng.uniform(*np.log(settings.diameter_px))))
        contrast_levels = float(np.exp(rng.uniform(*np.log(settings.contrast_levels))))
        best = None
        # One that the surface cannot show (a thin scratch across a highlight) goes elsewhere.
        for _ in range(3):
            tried = self._defect_somewhere(rng, good, kind, diameter_px, contrast_levels)
            error = tried[0].error(diameter_px, contrast_levels)
            if best is None or error < best[0].error(diameter_px, contrast_levels):
                best = tried
            if error < ACCEPTABLE:
                break
        assert best is not None
        return best

    def _defect_somewhere(
        self,
        rng: np.random.Generator,
        good: _GoodPart,
        kind: DefectKind,
        diameter_px: float,
        contrast_levels: float,
    ) -> tuple[MeasuredDefect, tuple[slice, slice]]:
        """
        The defect in a random form at a random place.

        """
        scene, model = self._scene, self._scene.model
        heading = float(rng.uniform(0.0, 2 * np.pi))
        if kind.sits_on_edge:
            at = int(rng.integers(len(scene.edge_points)))
            x, y = scene.edge_points[at]
            heading = float(scene.edge_headings[at] + np.radians(good.pose.angle_deg))
        else:
            x, y = self._place_on_surface(rng, kind.sign, contrast_levels, good.tone)
        frame_x, frame_y = self._to_frame(good.pose, float(x), float(y))
        half = int(np.ceil(kind.half_per_diameter * diameter_px + 6.0))
        area = self._window(frame_x, frame_y, half)
        patch = np.ascontiguousarray(good.picture[area])
        allowed: Plane = np.ones(patch.shape[:2], np.float32)
        if not kind.leaves_part:
            to_patch = self._affine(good.pose, model.density, model.centre, (0.0, 0.0))
            to_patch[:, 2] -= (area[1].start, area[0].start)
            solid = model.solid.astype(np.float32)
            allowed = cv2.warpAffine(solid, to_patch, (patch.shape[1], patch.shape[0]))
        defect = fit_defect(
            kind,
            patch,
            allowed,
            offset=(
                area[0].start - (round(frame_y) - half),
                area[1].start - (round(frame_x) - half),
            ),
            half=half,
            heading=heading,
            seed=int(rng.integers(2**31)),
            diameter_px=diameter_px,
            contrast_levels=contrast_levels,
        )
        return defect, area

    def _place_on_surface(
        self, rng: np.random.Generator, sign: int, contrast_levels: float, tone: Plane
    ) -> tuple[int, int]:
        """
        A point of the part that is bright enough to show a dark defect of that contrast, or dark
        enough for a bright one.

        """
        points = self._scene.surface_points
        places = points[rng.integers(0, len(points), 64)]
        levels = tone[places[:, 1], places[:, 0]]
        if sign < 0:
            fit = levels > 1.25 * contrast_levels + 20.0
        elif sign > 0:
            fit = levels < 235.0 - 1.25 * contrast_levels
        else:
            fit = np.ones(len(places), np.bool_)
        x, y = places[int(np.argmax(fit))]
        return int(x), int(y)
