# SPDX-License-Identifier: Apache-2.0
"""
The colour highlight: what good parts show stays, what has a colour of its own stands out.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner
import cv2
import numpy as np
from numpy.typing import NDArray
import pytest
import yaml

from anomaly_inspection.cli import main
from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.colour_highlight import ColourHighlight, distances, places_of
from anomaly_inspection.imaging.filters import filter_from_mapping, filter_to_mapping, Gauss
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning.highlight_choice import choose_highlight
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import measures_of, Recipe
from anomaly_inspection.scoring.frame_scorer import FrameScorer, ScoreStatus
from anomaly_inspection.scoring.measure import BadSide

WIDTH, HEIGHT = 160, 120
BELT, METAL, LABEL = (44, 40, 38), (150, 150, 150), (140, 70, 30)
# Blue, green, red: the brightness of a gray picture stays.
RUST = np.array([-28.7, -25.0, 60.0])
HIGHLIGHT = ColourHighlight(('#969696', '#1e468c'), 6.0, 8.0, 'white')


def part_frame(seed: int, *, stain_px: int = 0, noise: float = 2.0) -> NDArray[np.uint8]:
    """
    Draw a block of metal with a blue label; rust lies on it, just as bright.

    """
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), BELT, np.float32)
    cv2.rectangle(image, (30, 24), (130, 96), METAL, -1)
    cv2.rectangle(image, (42, 34), (58, 44), LABEL, -1)
    cv2.circle(image, (104, 72), 9, (70, 70, 70), -1, cv2.LINE_AA)
    if stain_px:
        rust = np.zeros((HEIGHT, WIDTH), np.float32)
        cv2.circle(rust, (70, 74), stain_px // 2, 1, -1, cv2.LINE_AA)
        image += rust[..., None] * RUST
    lit = image * (1 + 0.05 * rng.uniform(-1, 1)) + rng.normal(0, noise, image.shape)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def good_frames(count: int, **how: Any) -> list[tuple[str, NDArray[np.uint8]]]:
    return [(f'good {seed}', part_frame(seed, **how)) for seed in range(count)]


def one_colour(bgr: Any) -> NDArray[np.uint8]:
    return np.full((4, 5, 3), bgr, np.uint8)


def gray(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.int64)


def highlight_of(recipe: Recipe) -> ColourHighlight:
    (found,) = (one for one in recipe.preprocessing.filters if isinstance(one, ColourHighlight))
    return found


def is_rejected(recipe: Recipe, scorer: FrameScorer, frame: NDArray[np.uint8]) -> dict[str, bool]:
    """
    Give by scorer whether it rejects a frame, as the decider does with 'any'.

    """
    verdicts = {}
    for score in scorer.score(frame):
        assert score.status == ScoreStatus.OK
        verdicts[score.scorer] = any(
            (1 if spec.bad_side == BadSide.HIGH else -1)
            * (score.measures[spec.name] - recipe.scorers[score.scorer].limits[spec.name].limit)
            > 0
            for spec in measures_of(score.scorer)
        )
    return verdicts


# What it does to a picture.


@pytest.mark.parametrize('toward', ['white', 'black'])
def test_reference_colours_stay_as_they_are(toward: str) -> None:
    highlight = replace(HIGHLIGHT, toward=toward)
    for bgr in ((0x96, 0x96, 0x96), (0x8C, 0x46, 0x1E)):
        assert np.array_equal(highlight.apply(one_colour(bgr)), one_colour(bgr))


@pytest.mark.parametrize('lamp', [0.9, 0.95, 1.05, 1.1])
def test_brightness_is_no_colour(lamp: float) -> None:
    for bgr in ((150, 150, 150), (140, 70, 30)):
        lit = one_colour(np.rint(np.multiply(bgr, lamp)))
        assert np.array_equal(HIGHLIGHT.apply(lit), lit)
    for level in (0, 20, 80, 255):
        assert np.array_equal(HIGHLIGHT.apply(one_colour(level)), one_colour(level))


@pytest.mark.parametrize(('toward', 'level'), [('white', 255), ('black', 0)])
def test_a_foreign_colour_turns_white_or_black(toward: str, level: int) -> None:
    image = one_colour((150, 150, 150))
    image[1, 2] = image[1, 2] + RUST
    assert abs(int(gray(image)[1, 2]) - 150) <= 1
    found = replace(HIGHLIGHT, toward=toward).apply(image)
    assert found[1, 2].tolist() == [level] * 3
    assert np.count_nonzero(found != image) == 3
    assert image[0, 0].tolist() == [150] * 3


@pytest.mark.parametrize('toward', ['white', 'black'])
def test_the_highlight_grows_with_the_distance_without_a_jump(toward: str) -> None:
    highlight = replace(HIGHLIGHT, toward=toward)
    ramp = np.clip(150 + np.linspace(0, 0.8, 161)[:, None] * RUST, 0, 255)
    image = np.rint(ramp).astype(np.uint8)[None]
    away = distances(places_of(np.array([[METAL, (140, 70, 30)]], np.uint8))[0])
    away = away[places_of(image)[0]]
    # What gray shows of it: as much as the highlight alone, because all are just as bright.
    moved = np.abs(gray(highlight.apply(image)) - gray(image))[0]
    order = np.argsort(away, kind='stable')
    away, moved = away[order], moved[order]
    room = 105 if toward == 'white' else 150
    assert moved[away <= 6].max() == 0
    assert moved[away > 14].min() >= room - 3
    steady = np.maximum.accumulate(moved)
    assert np.max(steady - moved) <= 2
    wanted = room * np.clip((away - 6) / 8, 0, 1)
    assert np.abs(moved - wanted).max() <= 3


def test_noise_around_a_reference_colour_stays() -> None:
    rng = np.random.default_rng(0)
    for bgr in (METAL, (140, 70, 30)):
        noisy = np.clip(rng.normal(bgr, 2.0, (120, 160, 3)), 0, 255).astype(np.uint8)
        smooth = Gauss(1.0).apply(noisy)
        assert np.array_equal(HIGHLIGHT.apply(smooth), smooth)
        assert np.mean(HIGHLIGHT.apply(noisy) != noisy) < 0.01


def test_distances_are_those_to_the_nearest() -> None:
    away = distances(np.array([256 * 10 + 20, 256 * 200 + 100], np.uint16)).reshape(256, 256)
    assert away[10, 20] == away[200, 100] == 0
    assert away[13, 24] == pytest.approx(5)
    assert away[200, 112] == pytest.approx(12)


# In the one preprocessing.


def settings(**changes: Any) -> PreprocessingSettings:
    return PreprocessingSettings(
        **{
            'light': 'none',
            'alignment': AlignmentSettings(kind='none'),
            'filters': (HIGHLIGHT,),
            **changes,
        }
    )


def test_gray_and_colour_scorers_both_see_it() -> None:
    frame, stained = part_frame(1, noise=0), part_frame(1, stain_px=12, noise=0)
    frame_format = FrameFormat(WIDTH, HEIGHT, 'bgr8')
    for colour, shape in (('gray', (HEIGHT, WIDTH)), ('bgr', (HEIGHT, WIDTH, 3))):
        preprocessor = Preprocessor(settings(colour=colour), frame_format, frame)
        image = preprocessor.prepare(stained).image
        assert image.shape == shape
        assert np.all(image[74, 70] == 255)
        assert np.array_equal(preprocessor.prepare(frame).image[:60], image[:60])
    without = Preprocessor(settings(filters=()), frame_format, frame).prepare(stained).image
    assert np.abs(without.astype(int) - gray(frame)).max() <= 1


def test_where_nothing_is_foreign_nothing_changes() -> None:
    frames = [part_frame(seed, noise=0) for seed in (1, 2)]
    # A turned part: what is laid anew must be interpolated as without the highlight.
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 2.0, 1.0)
    turned = cv2.warpAffine(frames[1], turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    known = replace(HIGHLIGHT, tolerance_levels=100.0)
    found = [
        Preprocessor(
            settings(alignment=AlignmentSettings(search_px=12), filters=filters),
            FrameFormat(WIDTH, HEIGHT, 'bgr8'),
            frames[0],
        ).prepare(turned)
        for filters in ((), (known,))
    ]
    assert found[0].alignment is not None
    assert abs(found[0].alignment.angle_rad) > 0.02
    assert np.array_equal(found[0].image, found[1].image)


def test_filters_after_it_see_it() -> None:
    frame = part_frame(1, stain_px=12, noise=0)
    both = settings(filters=(HIGHLIGHT, Gauss(2.0)))
    found = Preprocessor(both, FrameFormat(WIDTH, HEIGHT, 'bgr8'), frame).prepare(frame).image
    wanted = gray(Gauss(2.0).apply(HIGHLIGHT.apply(frame)))
    assert np.array_equal(found, wanted)


def test_frames_without_colours_are_refused() -> None:
    frame = part_frame(1)[..., 1]
    with pytest.raises(SettingError, match=r'colour_highlight.*mono8.*bgr8'):
        Preprocessor(settings(), FrameFormat(WIDTH, HEIGHT, 'mono8'), frame)


FULL = filter_to_mapping(HIGHLIGHT)


def test_the_mapping_is_plain_and_comes_back() -> None:
    mapping = yaml.safe_load(yaml.safe_dump(FULL))
    assert mapping['colours'] == ['#969696', '#1e468c']
    assert filter_from_mapping(mapping) == HIGHLIGHT
    assert hash(filter_from_mapping(mapping)) == hash(HIGHLIGHT)


def test_every_setting_changes_the_fingerprint() -> None:
    others = [
        replace(HIGHLIGHT, colours=('#969696',)),
        replace(HIGHLIGHT, colours=('#969696', '#1e468d')),
        replace(HIGHLIGHT, tolerance_levels=6.1),
        replace(HIGHLIGHT, ramp_levels=8.1),
        replace(HIGHLIGHT, toward='black'),
    ]
    prints = {settings(filters=(one,)).fingerprint() for one in (HIGHLIGHT, *others)}
    prints.add(settings(filters=()).fingerprint())
    assert len(prints) == 2 + len(others)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'colours': []}, r'colours is \[\].*1 to 64'),
        ({'colours': ['#000000'] * 65}, 'colours is .*1 to 64'),
        ({'colours': '#969696'}, "colours is '#969696'.*a list"),
        ({'colours': ['#969696', 'red']}, r"colours\[1\] is 'red'.*#rrggbb"),
        ({'colours': ['#96969g']}, r"colours\[0\] is '#96969g'.*'00' to 'ff'"),
        ({'colours': [[150, 150, 150]]}, r'colours\[0\] is \[150, 150, 150\].*#rrggbb'),
        ({'colours': [None]}, r'colours\[0\] is None.*in quotes'),
        ({'tolerance_levels': 0}, 'tolerance_levels is 0.*1 to 100'),
        ({'tolerance_levels': float('nan')}, 'tolerance_levels is nan.*1 to 100'),
        ({'tolerance_levels': '6'}, "tolerance_levels is '6'.*1 to 100"),
        ({'ramp_levels': 0.5}, 'ramp_levels is 0.5.*1 to 100'),
        ({'toward': 'green'}, "toward is 'green'.*white, black"),
        ({'tolerance': 6}, "unknown key 'tolerance'.*tolerance_levels"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=f'filters.colour_highlight.*{words}'):
        filter_from_mapping({**FULL, **changes})


@pytest.mark.parametrize('name', ['colours', 'tolerance_levels', 'ramp_levels', 'toward'])
def test_a_missing_value_is_refused_by_name(name: str) -> None:
    mapping = {key: value for key, value in FULL.items() if key != name}
    with pytest.raises(SettingError, match=f"colour_highlight lacks '{name}'"):
        filter_from_mapping(mapping)


# What is learned from good parts.


def chosen(frames: Sequence[NDArray[np.uint8]], **how: Any) -> ColourHighlight:
    frame_format = FrameFormat(WIDTH, HEIGHT, 'bgr8')
    seen = settings(colour='bgr', filters=(Gauss(1.0),), **how)
    preprocessor = Preprocessor(seen, frame_format, frames[0])
    return choose_highlight(preprocessor.prepare(frame) for frame in frames)


def stands_out(highlight: ColourHighlight, bgr: Any) -> bool:
    """
    Tell whether a colour turns white or black altogether; it must stay as it is otherwise.

    """
    found, image = highlight.apply(one_colour(bgr)), one_colour(bgr)
    if np.array_equal(found, image):
        return False
    assert np.all(found == (255 if highlight.toward == 'white' else 0))
    return True


FOREIGN = ((40, 40, 160), (40, 160, 40), (40, 160, 160), (160, 40, 160), METAL + RUST)


def test_the_reference_colours_are_few_and_those_of_good_parts() -> None:
    highlight = chosen([part_frame(seed) for seed in range(20)])
    assert len(highlight.colours) <= 16
    assert 4 <= highlight.tolerance_levels < 12
    assert not any(stands_out(highlight, bgr) for bgr in (BELT, METAL, LABEL))
    assert all(stands_out(highlight, bgr) for bgr in FOREIGN)


def test_fresh_good_parts_hardly_change() -> None:
    highlight = chosen([part_frame(seed) for seed in range(20)])
    fresh = [Gauss(1.0).apply(part_frame(seed)) for seed in range(200, 210)]
    assert np.mean([highlight.apply(frame) != frame for frame in fresh]) < 1e-3


def test_a_gray_product_has_one_colour() -> None:
    frames = [cv2.cvtColor(part_frame(i)[..., 1], cv2.COLOR_GRAY2BGR) for i in range(12)]
    (colour,) = chosen(frames).colours
    assert len({colour[1:3], colour[3:5], colour[5:7]}) == 1


def test_a_tenth_of_strangers_teach_no_colour() -> None:
    frames = [part_frame(seed, stain_px=12 * (seed in (3, 11))) for seed in range(20)]
    assert all(stands_out(chosen(frames), bgr) for bgr in FOREIGN)


def test_what_lies_outside_the_region_teaches_no_colour() -> None:
    frames = [part_frame(seed) for seed in range(12)]
    assert not stands_out(chosen(frames), LABEL)
    region = RegionOfInterest(76, 26, 50, 60)
    assert stands_out(chosen(frames, region_of_interest=region), LABEL)


def test_what_the_alignment_brought_in_teaches_no_colour() -> None:
    frames = [part_frame(seed) for seed in range(12)]
    preprocessor = Preprocessor(
        settings(colour='bgr'), FrameFormat(WIDTH, HEIGHT, 'bgr8'), frames[0]
    )
    parts = []
    for frame in frames:
        prepared = preprocessor.prepare(frame)
        image, valid = prepared.image.copy(), prepared.valid.copy()
        image[:, :20], valid[:, :20] = FOREIGN[0], False
        parts.append(replace(prepared, image=image, valid=valid))
    assert stands_out(choose_highlight(parts), FOREIGN[0])


@pytest.mark.parametrize(('level', 'toward'), [(60, 'white'), (205, 'black')])
def test_dark_parts_are_highlighted_white_and_bright_ones_black(level: int, toward: str) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(level, 2, (10, HEIGHT, WIDTH, 3))
    assert chosen(list(noise.astype(np.uint8))).toward == toward


def test_the_same_parts_give_the_same_colours() -> None:
    frames = [part_frame(seed) for seed in range(12)]
    first = chosen(frames)
    cv2.setRNGSeed(77)
    assert chosen(frames) == first


@pytest.mark.parametrize('mixed', [False, True])
def test_parts_that_share_no_colour_are_refused(mixed: bool) -> None:
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(10):
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[:] = rng.integers(0, 256, 3)
        if mixed:
            image[:60] = 128
        frames.append(image)
    with pytest.raises(SettingError, match=r'highlight_colours: .*alike in colour'):
        chosen(frames)


# Teaching.


@pytest.fixture(scope='module')
def plain() -> Recipe:
    return teach(
        good_frames(30), name='block', options=TeachOptions(scorers=('ssim', 'variation'))
    )


@pytest.fixture(scope='module')
def highlighting() -> Recipe:
    """
    Give a recipe with the highlight; a stranger was among the good parts.

    """
    frames = [*good_frames(30), ('rusty', part_frame(77, stain_px=12))]
    return teach(
        frames,
        name='block',
        options=TeachOptions(scorers=('ssim', 'variation'), highlight_colours=True),
    )


def test_a_stain_as_bright_as_the_part_is_found(plain: Recipe, highlighting: Recipe) -> None:
    before, after = plain.frame_scorer(), highlighting.frame_scorer()
    assert plain.preprocessing.colour == highlighting.preprocessing.colour == 'gray'
    for seed in range(100, 110):
        stained = part_frame(seed, stain_px=12)
        assert is_rejected(plain, before, stained) == {'ssim': False, 'variation': False}
        assert is_rejected(highlighting, after, stained) == {'ssim': True, 'variation': True}


def test_good_parts_pass_as_before(plain: Recipe, highlighting: Recipe) -> None:
    rejects = [
        sum(
            any(is_rejected(recipe, scorer, part_frame(seed)).values()) for seed in range(200, 230)
        )
        for recipe, scorer in ((one, one.frame_scorer()) for one in (plain, highlighting))
    ]
    assert rejects[1] <= rejects[0] <= 1


def test_a_stranger_is_left_out_by_its_colour_alone(highlighting: Recipe) -> None:
    assert [entry.partition(':')[0] for entry in highlighting.provenance.left_out] == ['rusty']
    assert all(stands_out(highlight_of(highlighting), bgr) for bgr in FOREIGN)


def test_gray_images_are_refused_at_teaching() -> None:
    frames = [frame[..., 1].copy() for _, frame in good_frames(8)]
    with pytest.raises(SettingError, match=r'highlight_colours.*gray.*colour images'):
        teach(
            frames,
            name='block',
            options=TeachOptions(scorers=('ssim', 'variation'), highlight_colours=True),
        )


def test_it_is_not_given_beside_a_preprocessing() -> None:
    with pytest.raises(SettingError, match='colour_highlight inside preprocessing'):
        teach(
            good_frames(8),
            name='block',
            options=TeachOptions(preprocessing=PreprocessingSettings(), highlight_colours=True),
        )


# The recipe.


def test_the_recipe_keeps_the_colours_and_refuses_others(
    highlighting: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / 'block'
    write_recipe(highlighting, folder)
    read = read_recipe(folder)
    assert read.preprocessing == highlighting.preprocessing
    stained = part_frame(100, stain_px=12)
    for one, other in zip(
        read.frame_scorer().score(stained), highlighting.frame_scorer().score(stained), strict=True
    ):
        assert one.measures == other.measures
    file = folder / 'recipe.yaml'
    text = file.read_text()
    colour = highlight_of(highlighting).colours[0]
    assert f"- '{colour}'" in text
    for changed, words in (
        ("- '#00ff00'", 'preprocessing_fingerprint.*changed after teaching'),
        ('- [0, 255, 0]', r'colours\[0\] is \[0, 255, 0\].*#rrggbb'),
    ):
        file.write_text(text.replace(f"- '{colour}'", changed))
        with pytest.raises(RecipeError, match=words):
            read_recipe(folder)


def test_the_command_teaches_it_and_refuses_gray_images(tmp_path: Path) -> None:
    for kind in ('colour', 'gray'):
        (tmp_path / kind).mkdir()
        for name, frame in good_frames(8):
            image = frame if kind == 'colour' else frame[..., 1]
            cv2.imwrite(str(tmp_path / kind / f'{name}.png'), image)
    answers = {
        kind: CliRunner().invoke(
            main,
            [
                *('teach', str(tmp_path / kind), '--recipe', str(tmp_path / f'{kind}_recipe')),
                *('--scorer', 'variation', '--highlight-colours'),
            ],
        )
        for kind in ('colour', 'gray')
    }
    assert answers['colour'].exit_code == 0
    highlight = highlight_of(read_recipe(tmp_path / 'colour_recipe'))
    assert f'Good parts have {len(highlight.colours)} colours' in answers['colour'].stdout
    assert 'turns white' in answers['colour'].stdout
    assert answers['gray'].exit_code == 2
    assert not (tmp_path / 'gray_recipe').exists()
