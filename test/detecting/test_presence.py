# SPDX-License-Identifier: Apache-2.0
"""
Presence in the image: belts of our own drawing, parts counted once, with the frame in the middle.

"""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_inspection.detecting.passage import PassageTracker, StationTracker, Travel
from anomaly_inspection.detecting.presence import (
    PresenceDetector,
    PresenceSettings,
    Sight,
    Stretch,
)
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from support.drawn_belt import DrawnBelt, DrawnPart, FPS, HEIGHT, WIDTH

MIDDLE = WIDTH // 2


class Watch:
    """
    A detector and a tracker that look at a belt.

    """

    def __init__(self, *, patience_s=0.2, travel=Travel.EITHER, **settings):
        self.detector = PresenceDetector(PresenceSettings(**settings))
        self.tracker = PassageTracker(patience_s, travel)
        self.passages = []
        self.told_at = []
        self.frames = 0

    def see(self, image):
        exposure_s = self.frames / FPS
        sight = self.detector.see(image, exposure_s)
        for passage in self.tracker.update(sight, self.frames):
            self.passages.append(passage)
            self.told_at.append(self.frames)
        self.frames += 1
        return sight

    def run(self, belt, frames):
        for _ in range(frames):
            self.see(belt.frame())
        return self.passages


def queue(starts_px, **look):
    return [DrawnPart(start_px, **look) for start_px in starts_px]


def middle_of(belt_part, passage, speed_px):
    return belt_part.start_px + speed_px * passage.frame


STEADY = {'noise': {'noise_levels': 10.0}, 'shake': {'shake_px': 3.0}, 'marks': {'marks': True}}
LIGHT = {
    'drift': {'gain': lambda n: 1 + 0.4 * np.sin(n / 60)},
    'exposure steps': {'gain': lambda n: (1.0, 1.4, 0.75, 1.15)[n // 23 % 4]},
    'slow fade': {'gain': lambda n: 0.4 + 0.6 * 0.995**n},
}
LOOKS = {
    'plain': {},
    'dark': {'level': 50},
    'faint': {'level': 122},
    'ring': {'kind': 'ring', 'length_px': 100},
    'striped': {'kind': 'striped', 'length_px': 90},
    'small': {'length_px': 26, 'height_px': 24},
}


CASES = [
    *((course, 'plain') for course in (*STEADY, *LIGHT)),
    *(('noise', look) for look in LOOKS),
    ('exposure steps', 'dark'),
    ('drift', 'striped'),
]


@pytest.mark.parametrize(('course', 'look'), CASES)
@pytest.mark.parametrize('speed_px', [8.0, -8.0], ids=['to the right', 'to the left'])
def test_every_part_is_given_once_with_its_middle_at_the_column(course, look, speed_px):
    sign = np.sign(speed_px)
    parts = queue([MIDDLE - sign * (240 + 150 * n) for n in range(3)], **LOOKS[look])
    belt = DrawnBelt(parts, speed_px, **{**STEADY, **LIGHT}[course])
    passages = Watch().run(belt, 90)
    assert len(passages) == 3
    for part, passage in zip(parts, passages, strict=True):
        assert abs(middle_of(part, passage, speed_px) - MIDDLE) <= 8


@pytest.mark.parametrize('speed_px', [3.0, 25.0, 45.0])
@pytest.mark.parametrize('gap_px', [24, 60])
def test_parts_close_together_are_two_at_any_speed(speed_px, gap_px):
    # At 45 px a frame a gap of 24 px leaves most often no frame in which the column is empty.
    parts = queue([MIDDLE - 400 - n * (60 + gap_px) for n in range(4)])
    passages = Watch().run(DrawnBelt(parts, speed_px), int(900 / speed_px) + 3)
    assert len(passages) == 4
    for part, passage in zip(parts, passages, strict=True):
        assert abs(middle_of(part, passage, speed_px) - MIDDLE) <= max(8, speed_px)


def test_the_part_is_known_when_its_middle_passes_not_when_it_has_left():
    watch = Watch()
    watch.run(DrawnBelt(queue([MIDDLE - 200], length_px=100)), 60)
    assert watch.told_at == [25]


def test_a_part_that_stops_on_the_column_is_given_once_and_in_time():
    def speed_px(number):
        return 0.0 if 22 <= number < 200 else 8.0

    watch = Watch(patience_s=0.2)
    watch.run(DrawnBelt(queue([MIDDLE - 200, MIDDLE - 360]), speed_px), 260)
    assert len(watch.passages) == 2
    # It came to stand at frame 22, its middle 24 px before the column.
    assert 22 <= watch.told_at[0] <= 22 + 0.2 * FPS + 1
    assert watch.passages[0].distance_px == pytest.approx(24, abs=4)


def test_when_no_more_frames_come_the_part_is_given_all_the_same():
    watch = Watch()
    watch.run(DrawnBelt(queue([MIDDLE - 170])), 20)
    assert watch.passages == []
    assert watch.tracker.tick(19 / FPS + 0.19) == []
    (passage,) = watch.tracker.tick(19 / FPS + 0.21)
    assert passage.frame == 19
    assert watch.tracker.tick(99.0) == watch.tracker.give_up() == []


def test_a_part_that_stands_for_long_is_given_once_and_leaves_no_ghost():
    # Longer than absorb_after_s: meanwhile it counts as the empty scene.
    def speed_px(number):
        return 0.0 if 60 <= number < 300 else 8.0

    parts = queue([MIDDLE - 480, MIDDLE - 700, MIDDLE - 860], kind='striped')
    watch = Watch(absorb_after_s=2.0)
    belt = DrawnBelt(parts, speed_px)
    watch.run(belt, 200)
    assert watch.tracker.covered_since_s is None, 'taken for the empty scene'
    assert watch.detector.scene.absorbed_count > 0
    watch.run(belt, 240)
    assert len(watch.passages) == 3


def test_a_change_that_stays_heals_and_parts_are_counted_again():
    def stain(number, picture):
        if number >= 60:
            picture[60:160, MIDDLE - 70 : MIDDLE + 50] = 40

    belt = DrawnBelt(queue([MIDDLE - 1600, MIDDLE - 1800]), scene=stain)
    watch = Watch(absorb_after_s=2.0)
    watch.run(belt, 90)
    ghosts = len(watch.passages)
    assert ghosts <= 1, 'what appears on the column is a part, once'
    assert watch.tracker.covered_since_s is not None
    assert watch.detector.scene.unmoved_s > 0.5
    watch.run(belt, 60)
    assert watch.tracker.covered_since_s is None
    assert watch.detector.scene.unmoved_s == 0
    watch.run(belt, 100)
    assert len(watch.passages) == ghosts + 2


@pytest.mark.parametrize('middle_px', [40, MIDDLE, 280])
def test_a_part_in_the_first_frame_is_not_taken_for_the_scene_for_long(middle_px):
    parts = queue([middle_px, *(middle_px - 400 - 150 * n for n in range(3))])
    watch = Watch()
    watch.run(DrawnBelt(parts), 140)
    frames = [passage.frame for passage in watch.passages]
    wanted = [round((MIDDLE - part.start_px) / 8) for part in parts[1:]]
    assert len(frames) >= 3
    assert np.abs(np.array(frames[-3:]) - wanted).max() <= 1
    # The first part, or the place it has left, may count, or not: it stood there from the start.
    assert len(frames) <= 4


@pytest.mark.parametrize('speed_px', [8.0, -8.0])
def test_what_crosses_against_the_belt_is_no_part_where_its_way_is_known(speed_px):
    belt = DrawnBelt(queue([MIDDLE - 25 * speed_px]), speed_px)
    watch = Watch(travel=Travel.TO_THE_RIGHT)
    assert len(watch.run(belt, 60)) == (speed_px > 0)
    assert watch.tracker.against_count == (speed_px < 0)


def test_a_start_amid_parts_is_overcome_though_the_belt_never_shows_for_long():
    # Each place is empty for 6 frames, covered for 8: no look stands for longer than 0.3 s.
    parts = [
        DrawnPart(MIDDLE - 110 * number, level=(190, 40, 230, 150)[number % 4])
        for number in range(-1, 40)
    ]
    watch = Watch()
    watch.run(DrawnBelt(parts), 300)
    late = [passage.frame for passage in watch.passages if passage.frame > 150]
    wanted = [13.75 * number for number in range(1, 40) if 150 < 13.75 * number < 299]
    assert len(late) == len(wanted)
    assert np.abs(np.array(late) - wanted).max() <= 1.5


def test_what_is_smaller_than_a_part_is_none():
    parts = queue([MIDDLE - 300], length_px=12, height_px=120)
    assert Watch().run(DrawnBelt(parts), 60) == []
    assert len(Watch(smallest_part_px=8).run(DrawnBelt(parts), 60)) == 1


def test_what_moves_beside_the_region_is_no_part():
    def walker(number, picture):
        x = 5 * number % WIDTH
        picture[:60, x : x + 60] = 255

    belt = {'parts': queue([MIDDLE - 300]), 'scene': walker}
    region = RegionOfInterest(0, 60, WIDTH, HEIGHT - 80)
    assert len(Watch(region_of_interest=region).run(DrawnBelt(**belt), 60)) == 1


def test_the_trigger_column_can_be_chosen():
    (passage,) = Watch(trigger_x_px=90).run(DrawnBelt(queue([-100])), 50)
    assert passage.stretch.center_px == pytest.approx(90, abs=8)


def test_a_part_longer_than_the_region_is_given_once():
    assert len(Watch().run(DrawnBelt(queue([-300], length_px=420)), 120)) == 1


# Learning the empty scene


def test_learn_empty_learns_from_a_still_scene_whatever_was_there_before():
    # A part stood there from the start, for longer than absorb_after_s, and has been taken away.
    watch = Watch()
    watch.run(DrawnBelt(queue([MIDDLE]), 0.0), 60)
    still = DrawnBelt(noise_levels=8.0)
    images = [still.frame() for _ in range(10)]
    assert 'learned from 10 frames, noise' in watch.detector.learn_empty(images)
    assert watch.see(still.frame()).covering is None
    assert watch.detector.scene.known_s > 10


def test_learn_empty_refuses_a_scene_that_moves_and_keeps_what_was_known():
    belt = DrawnBelt(queue([40]))
    images = [belt.frame() for _ in range(10)]
    watch = Watch()
    watch.run(DrawnBelt(), 20)
    with pytest.raises(FrameError, match=r'\d% of the region changed .* allowed: 1%') as refusal:
        watch.detector.learn_empty(images)
    assert 'while nothing moves' in str(refusal.value)
    assert watch.see(DrawnBelt().frame()).covering is None
    with pytest.raises(FrameError, match='1 frames to learn from'):
        watch.detector.learn_empty(images[:1])


def test_the_exposure_may_drift_while_the_scene_is_learned():
    belt = DrawnBelt(gain=lambda number: 1 + 0.01 * number)
    PresenceDetector(PresenceSettings()).learn_empty([belt.frame() for _ in range(20)])


# What is refused


def test_a_frame_of_another_size_is_refused_and_the_next_one_is_seen():
    watch = Watch()
    watch.run(DrawnBelt(), 5)
    with pytest.raises(FrameError, match=r'shape \(10, 10, 3\), wanted \(240, 320, 3\)'):
        watch.detector.see(np.zeros((10, 10, 3), np.uint8), 1.0)
    assert watch.see(DrawnBelt().frame()).stretches == ()


def test_gray_frames_are_seen_as_well():
    belt = DrawnBelt(queue([MIDDLE - 300]))
    watch = Watch()
    for _ in range(60):
        watch.see(belt.frame()[..., 1])
    assert len(watch.passages) == 1


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'region_of_interest': RegionOfInterest(0, 0, 400, 100)}, 'reaches to x 400'),
        ({'trigger_x_px': 320}, 'trigger_x_px 320 .* allowed: 0 to 319'),
    ],
)
def test_a_place_outside_the_frame_is_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        Watch(**settings).see(DrawnBelt().frame())


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        *(('contrast_levels', 1.0), ('smallest_part_px', 0), ('smallest_gap_px', 0)),
        *(('camera_shift_px', 65), ('absorb_after_s', 0.5), ('trigger_x_px', -1)),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value):
    with pytest.raises(SettingError, match=name):
        PresenceSettings(**{name: value})


# Station


def sight(number, *edges):
    return Sight(0.1 * number, 100, (Stretch(*edges),) if edges else ())


def station_course(*course):
    tracker = StationTracker(interval_s=0.19, most_frames=3)
    held = [tracker.update(sight(n, *edges), n) for n, edges in enumerate(course)]
    return [(n, each.frames, each.is_complete) for n, each in enumerate(held) if each]


def test_a_held_part_opens_at_rest_gives_frames_and_ends_with_its_removal():
    on_its_way = [(), (0, 110), (40, 150)]
    held = [(50, 160)] * 10
    assert station_course(*on_its_way, *held, (), (), ()) == [
        (4, (4,), False),
        (6, (4, 6), False),
        (8, (4, 6, 8), False),
        (14, (4, 6, 8), True),
    ]


def test_one_empty_frame_is_no_removal():
    held = [(50, 160)] * 4
    assert [each[1:] for each in station_course(*held, (), *held, (), ())] == [
        ((1,), False),
        ((1, 3), False),
        ((1, 3, 5), False),
        ((1, 3, 5), True),
    ]


def test_a_part_that_passes_through_a_station_is_none():
    assert station_course(*((n * 30, n * 30 + 60) for n in range(8))) == []


def test_a_station_that_stops_closes_its_part():
    tracker = StationTracker(interval_s=0.2, most_frames=3)
    for number in range(3):
        tracker.update(sight(number, 50, 160), number)
    assert tracker.give_up().is_complete
    assert tracker.give_up() is None
