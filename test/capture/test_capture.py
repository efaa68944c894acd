# SPDX-License-Identifier: Apache-2.0
"""
Image folders, video files, what is known of their frames, and the choice of a source.

"""

from __future__ import annotations

import os
from pathlib import Path
import struct
import time

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.camera import Camera, CameraSettings
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.capture.simulated_line import SimulatedLine
from anomaly_inspection.capture.source import Truth
from anomaly_inspection.capture.video_file import VideoFile
from anomaly_inspection.errors import FrameError, SettingError, SourceError
from anomaly_inspection.imaging.image_decoding import decode_image
from support.paths import DATASETS

FORMATS = ('.png', '.jpg', '.bmp', '.tif')


def picture(seed: int = 0, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (60, 80, channels), np.uint8)
    return np.squeeze(cv2.GaussianBlur(noise, (0, 0), 2))


def encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def put(path: Path, image: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.suffix.lower(), picture() if image is None else image))
    return path


def names(folder: ImageFolder) -> list[str]:
    with folder:
        found = []
        while (frame := folder.read()) is not None:
            found.append(frame.name)
    assert list(folder.names) == found
    return found


def tiff_with_directory_first(image: np.ndarray) -> bytes:
    height, width = image.shape
    entries = [
        (256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4),
        (277, 1), (278, height), (279, image.size),
    ]  # fmt: skip
    directory = struct.pack('<H', len(entries))
    directory += b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in entries)
    return b'II*\0' + struct.pack('<I', 8) + directory + struct.pack('<I', 0) + image.tobytes()


# One image


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif'])
def test_lossless_images_come_back_as_they_were(suffix, channels):
    image = picture(channels=channels)
    decoded = decode_image(encoded(suffix, image))
    assert decoded.dtype == np.uint8
    if channels == 3 or suffix != '.bmp':
        np.testing.assert_array_equal(decoded, image)
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize('channels', [1, 3])
def test_jpeg_keeps_its_number_of_channels(channels):
    image = picture(channels=channels)
    assert decode_image(encoded('.jpg', image)).shape == image.shape


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('share', [0.0, 0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_image_is_refused(suffix, share):
    data = encoded(suffix, picture())
    with pytest.raises(FrameError, match=r'truncated|empty|not a PNG'):
        decode_image(data[: int(share * len(data))])


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp'])
def test_the_last_byte_matters(suffix):
    with pytest.raises(FrameError, match='truncated'):
        decode_image(encoded(suffix, picture())[:-1])


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_copy_that_ends_in_zeros_is_refused(suffix):
    data = encoded(suffix, picture())
    with pytest.raises(FrameError):
        decode_image(data[: len(data) // 2].ljust(len(data), b'\0'))


def test_the_end_mark_of_an_embedded_preview_does_not_count():
    data = encoded('.jpg', picture())
    preview = encoded('.jpg', picture(1)[:16, :16])
    with_preview = (
        data[:2] + b'\xff\xe1' + struct.pack('>H', len(preview) + 2) + preview + data[2:]
    )
    np.testing.assert_array_equal(decode_image(with_preview), decode_image(data))
    with pytest.raises(FrameError, match='the JPEG is truncated'):
        decode_image(with_preview[:-300])


def test_bytes_after_the_end_do_no_harm():
    data = encoded('.jpg', picture())
    np.testing.assert_array_equal(decode_image(data + b'\0' * 50), decode_image(data))


def test_progressive_jpeg_is_read():
    data = cv2.imencode('.jpg', picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode_image(data).shape == (60, 80, 3)


def test_a_damaged_png_is_refused():
    data = bytearray(encoded('.png', picture()))
    data[len(data) // 2] ^= 1
    with pytest.raises(FrameError, match='the PNG is damaged: wrong checksum at byte'):
        decode_image(bytes(data))


def test_a_tiff_with_its_directory_first_is_refused_when_its_pixels_are_cut_off():
    image = picture(channels=1)
    data = tiff_with_directory_first(image)
    np.testing.assert_array_equal(decode_image(data), image)
    with pytest.raises(FrameError, match=r'the TIFF is truncated: \d+ of at least'):
        decode_image(data[:-1])


def test_sixteen_bits_are_refused():
    deep = picture(channels=1).astype(np.uint16) * 257
    for suffix in ('.png', '.tif'):
        with pytest.raises(FrameError, match='16 bits; allowed: 8 bits'):
            decode_image(encoded(suffix, deep))


def test_alpha_is_dropped_where_it_hides_nothing_and_refused_elsewhere():
    image = picture()
    alpha = np.full((*image.shape[:2], 1), 255, np.uint8)
    np.testing.assert_array_equal(
        decode_image(encoded('.png', np.concatenate([image, alpha], axis=2))), image
    )
    alpha[3, 3] = 254
    with pytest.raises(FrameError, match='transparent'):
        decode_image(encoded('.png', np.concatenate([image, alpha], axis=2)))


def test_a_page_of_text_is_no_image():
    with pytest.raises(
        FrameError, match='not a PNG, JPEG, BMP or TIFF image: it begins with 3c 68'
    ):
        decode_image(b'<html>not found</html>')


# A folder


def test_order_is_natural_and_names_are_relative(tmp_path):
    for name in ('10.png', '2.png', 'b/1.png', 'a10/1.png', 'a9/1.png', '01.png', '1.png'):
        put(tmp_path / name)
    assert names(ImageFolder(tmp_path)) == [
        '01.png', '1.png', '2.png', '10.png', 'a9/1.png', 'a10/1.png', 'b/1.png',
    ]  # fmt: skip


def test_suffixes_in_either_case_and_nothing_else(tmp_path):
    for name in ('a.PNG', 'b.Jpg', 'c.jpeg', 'd.BMP', 'e.tif', 'f.TIFF', '.hidden.png'):
        put(tmp_path / name)
    put(tmp_path / '.cache' / 'x.png')
    (tmp_path / 'labels.txt').write_text('x')
    (tmp_path / 'folder.png').mkdir()
    assert names(ImageFolder(tmp_path)) == [
        'a.PNG', 'b.Jpg', 'c.jpeg', 'd.BMP', 'e.tif', 'f.TIFF',
    ]  # fmt: skip


def test_folders_inside_can_be_left_out(tmp_path):
    put(tmp_path / 'a.png')
    put(tmp_path / 'deeper' / 'b.png')
    assert names(ImageFolder(tmp_path, recursive=False)) == ['a.png']


def test_masks_are_never_frames(tmp_path):
    put(tmp_path / 'test' / 'good' / '0.png')
    put(tmp_path / 'ground_truth' / 'scratch' / '0_mask.png')
    assert names(ImageFolder(tmp_path)) == ['test/good/0.png']


def test_links_are_followed_and_circles_end(tmp_path):
    put(tmp_path / 'elsewhere' / '0.png')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'images' / 'circle').symlink_to(tmp_path / 'images')
    assert names(ImageFolder(tmp_path / 'images')) == ['linked/0.png']


def test_opening_again_begins_again(tmp_path):
    put(tmp_path / 'a.png')
    folder = ImageFolder(tmp_path)
    assert names(folder) == names(folder) == ['a.png']
    with pytest.raises(SourceError, match='is not open'):
        folder.read()


def test_stamps_are_taken_at_the_read(tmp_path):
    put(tmp_path / 'a.png')
    with ImageFolder(tmp_path) as folder:
        before = time.monotonic_ns(), time.time_ns()
        frame = folder.read()
        after = time.monotonic_ns(), time.time_ns()
    assert before[0] <= frame.steady_ns <= after[0]
    assert before[1] <= frame.stamp_ns <= after[1]


def test_a_bad_file_is_a_problem_and_the_next_read_goes_on(tmp_path):
    put(tmp_path / '1.png')
    for number, suffix in enumerate(FORMATS, start=2):
        data = encoded(suffix, picture())
        (tmp_path / f'{number}{suffix}').write_bytes(data[: len(data) // 2])
    (tmp_path / '6.png').write_bytes(b'')
    (tmp_path / '7.png').write_text('not an image')
    os.mkfifo(tmp_path / '8.png')
    (tmp_path / '9.png').symlink_to(tmp_path / 'gone.png')
    put(tmp_path / '10.png', picture(channels=1).astype(np.uint16))
    put(tmp_path / '11.png')
    with ImageFolder(tmp_path) as folder:
        frames = [folder.read() for _ in folder.names]
        assert folder.read() is None
    assert [frame.image is None for frame in frames] == [False, *[True] * 9, False]
    assert all(bool(frame.problem) == (frame.image is None) for frame in frames)
    assert 'empty' in frames[5].problem
    assert 'regular' in frames[7].problem
    assert 'regular' in frames[8].problem


def test_a_file_that_goes_away_is_a_problem(tmp_path):
    gone = put(tmp_path / 'a.png')
    put(tmp_path / 'b.png')
    with ImageFolder(tmp_path) as folder:
        gone.unlink()
        assert 'missing' in folder.read().problem
        assert folder.read().problem == ''


def test_a_folder_that_cannot_be_used_says_why(tmp_path):
    with pytest.raises(SourceError, match='there is no folder'):
        ImageFolder(tmp_path / 'nothing').open()
    with pytest.raises(SourceError, match='is a file; allowed: a folder of images'):
        ImageFolder(put(tmp_path / 'a.png')).open()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match=r'no images in .*empty or the folders in it.*\*\.png'):
        ImageFolder(tmp_path / 'empty').open()
    put(tmp_path / 'above' / 'below' / 'a.png')
    with pytest.raises(SourceError, match='folders in it not searched'):
        ImageFolder(tmp_path / 'above', recursive=False).open()


# What is known of the images


@pytest.fixture
def tree(tmp_path):
    for name in ('train/good/0.png', 'test/good/0.png', 'test/scratch/0.png', 'test/stain/1.png'):
        put(tmp_path / name)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 30:50] = 255
    put(tmp_path / 'ground_truth' / 'scratch' / '0_mask.png', mask)
    return tmp_path


def truth(root: Path, name: str) -> Truth | None:
    with ImageFolder(root) as folder:
        assert name in folder.names
        return folder.truth(name)


@pytest.mark.parametrize(
    ('root', 'name', 'defect'),
    [
        ('.', 'test/scratch/0.png', 'scratch'),
        ('.', 'train/good/0.png', 'good'),
        ('test', 'scratch/0.png', 'scratch'),
        ('test', 'good/0.png', 'good'),
        ('test/stain', '1.png', 'stain'),
        ('train/good', '0.png', 'good'),
    ],
)
def test_the_layout_tells_the_defect_from_wherever_it_is_opened(tree, root, name, defect):
    known = truth(tree / root, name)
    assert known.defect == defect
    assert known.is_good == (defect == 'good')
    assert known.part_present
    assert (known.mask is not None) == (defect == 'scratch')
    if defect == 'scratch':
        assert known.mask.dtype == bool
        assert known.mask.sum() == 200
        assert known.mask[10, 30]
        assert not known.mask[20, 50]


def test_without_that_layout_nothing_is_known(tmp_path):
    put(tmp_path / 'good' / '0.png')
    put(tmp_path / 'test' / 'holiday' / '0.png')
    put(tmp_path / '1.png')
    with ImageFolder(tmp_path) as folder:
        assert [folder.truth(name) for name in folder.names] == [None] * 3


HEADER = 'file,split,label,defect,mask,part_present,diameter_px,contrast_levels\n'


@pytest.mark.parametrize('root', ['.', 'test', 'test/scratch'])
def test_labels_refine_the_layout(tree, root):
    put(tree / 'masks' / 'x.png', np.full((60, 80), 1, np.uint8))
    (tree / 'labels.csv').write_text(
        HEADER + 'test/scratch/0.png,test,defect,deep_scratch,masks/x.png,no,17.5,42\n'
    )
    known = truth(tree / root, (tree / 'test/scratch/0.png').relative_to(tree / root).as_posix())
    assert known.defect == 'deep_scratch'
    assert not known.part_present
    assert known.diameter_px == 17.5
    assert known.contrast_levels == 42
    assert known.mask.all()


def test_images_without_a_label_keep_their_layout(tree):
    (tree / 'labels.csv').write_text(HEADER + 'test/scratch/0.png,test,defect,scratch,,,,\n')
    known = truth(tree, 'test/stain/1.png')
    assert known.defect == 'stain'
    assert np.isnan(known.diameter_px)
    assert np.isnan(known.contrast_levels)
    assert truth(tree, 'test/scratch/0.png').mask.sum() == 200


def test_labels_work_without_any_layout(tmp_path):
    put(tmp_path / 'a.png')
    put(tmp_path / 'b.png')
    (tmp_path / 'labels.csv').write_text('file,label\na.png,defect\nb.png,good\n')
    assert truth(tmp_path, 'a.png').defect == 'defect'
    assert truth(tmp_path, 'b.png').is_good


@pytest.mark.parametrize(
    ('row', 'text'),
    [
        ('0.png,,bad,,,,,', "line 2: label is 'bad'; allowed: good, defect"),
        ('0.png,,good,dent,,,,', 'line 2: label is .good.; allowed: what agrees'),
        ('0.png,,,,,,,', 'neither defect nor label'),
        ('0.png,,good,good,,perhaps,,', "part_present is 'perhaps'; allowed: yes, no"),
        ('0.png,,defect,dent,,yes,big,', "diameter_px is 'big'; allowed: a number"),
    ],
)
def test_a_wrong_label_is_refused_with_its_line(tmp_path, row, text):
    put(tmp_path / '0.png')
    (tmp_path / 'labels.csv').write_text(HEADER + row + '\n')
    with pytest.raises(SourceError, match=text):
        ImageFolder(tmp_path).open()


@pytest.mark.parametrize(
    'content', [b'', b'name,label\n', b'file\n', b'file,label\n\xff\xfe,good']
)
def test_another_table_called_labels_is_refused(tmp_path, content):
    put(tmp_path / '0.png')
    (tmp_path / 'labels.csv').write_bytes(content)
    with pytest.raises(SourceError, match=r'labels\.csv (has the columns|cannot be read)'):
        ImageFolder(tmp_path).open()


def test_a_missing_mask_is_an_error_only_when_it_is_asked_for(tree):
    (tree / 'labels.csv').write_text(HEADER + 'test/scratch/0.png,test,defect,dent,no.png,,,\n')
    with ImageFolder(tree) as folder:
        with pytest.raises(SourceError, match=r'mask .*no\.png: the file is missing'):
            folder.truth('test/scratch/0.png')
        assert folder.truth('test/good/0.png').is_good


@pytest.mark.parametrize(
    ('dataset', 'good', 'absent', 'masks'),
    [
        ('mvtec_bottle', 12, 0, 38), ('bottle_line', 16, 6, 0), ('casting', 70, 0, 0),
        ('dice', 163, 0, 0), ('magnetic_tile', 80, 0, 193), ('deeppcb', 75, 0, 462),
    ],
)  # fmt: skip
def test_real_data_sets_are_understood(dataset, good, absent, masks):
    root = DATASETS / dataset / 'test'
    if not root.is_dir():
        pytest.skip(f'no real images: {root} is absent')
    with ImageFolder(root) as folder:
        known = [folder.truth(name) for name in folder.names]
        for _ in range(3):
            frame = folder.read()
            assert frame.problem == ''
            assert frame.image.dtype == np.uint8
    assert sum(each.is_good for each in known) == good
    assert sum(not each.part_present for each in known) == absent
    assert sum(each.mask is not None for each in known) == masks
    assert all(each.mask.any() for each in known if each.mask is not None)


# A video


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'belt.avi'
    code = int.from_bytes(b'MJPG', 'little')
    writer = cv2.VideoWriter(str(path), code, 10, (80, 60))
    for level in range(20):
        writer.write(np.full((60, 80, 3), 10 * level, np.uint8))
    writer.release()
    return path


def test_a_video_gives_its_frames_and_ends(video):
    with VideoFile(video) as source:
        frames = [source.read() for _ in range(20)]
        assert source.read() is None
        assert source.read() is None
    assert [frame.name for frame in frames[:2]] == ['belt.avi/000000', 'belt.avi/000001']
    levels = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(levels, 10 * np.arange(20), atol=4)
    assert [frame.steady_ns for frame in frames] == sorted(frame.steady_ns for frame in frames)
    with pytest.raises(SourceError, match='is not open'):
        source.read()
    source.open()
    assert source.read().name == 'belt.avi/000000'
    source.close()
    source.close()


def test_a_missing_or_broken_video_is_refused(tmp_path):
    with pytest.raises(SourceError, match='there is no video file'):
        VideoFile(tmp_path / 'no.avi').open()
    for content in (b'', b'not a video', os.urandom(5000)):
        broken = tmp_path / 'broken.mp4'
        broken.write_bytes(content)
        with pytest.raises(SourceError, match=f'{len(content)} bytes.* cannot be opened'):
            VideoFile(broken).open()


def test_a_video_that_is_cut_off_is_an_error_and_not_an_end(video):
    data = video.read_bytes()
    video.write_bytes(data[: int(0.8 * len(data))])
    with (
        VideoFile(video) as source,
        pytest.raises(SourceError, match=r'damaged: it ends after \d+ of about 20'),
    ):
        list(iter(source.read, None))


def test_a_real_video_is_read_to_its_end():
    path = DATASETS / 'line_clips' / 'delta_belt' / 'conveyor_belt.mp4'
    if not path.is_file():
        pytest.skip(f'no real video: {path} is absent')
    with VideoFile(path) as source:
        assert sum(1 for _ in iter(source.read, None)) == 387


# The choice


def test_the_name_chooses_the_source(tmp_path, video):
    put(tmp_path / '0' / 'a.png')
    assert isinstance(open_source('0'), Camera)
    assert isinstance(open_source('/dev/video0', camera_settings=CameraSettings(gain=1)), Camera)
    assert isinstance(open_source(str(tmp_path)), ImageFolder)
    assert isinstance(open_source(str(tmp_path / '0')), ImageFolder)
    assert isinstance(open_source(str(video)), VideoFile)
    assert isinstance(open_source('line'), SimulatedLine)
    with open_source('line:parts=1,seed=2') as line:
        assert line.read().image is not None
        assert line.read() is None


@pytest.mark.parametrize(
    ('spec', 'text'),
    [
        ('', "source '' does not exist"),
        ('-1', "source '-1' does not exist"),
        ('no/such/folder', 'does not exist'),
        ('rtsp://somewhere/stream', 'does not exist'),
        ('{folder}/a.png', 'is one image, not a folder'),
        ('{folder}/notes.txt', 'is neither a folder nor a video file'),
    ],
)
def test_any_other_name_is_refused_with_what_is_understood(tmp_path, spec, text):
    put(tmp_path / 'a.png')
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(SourceError, match=f'{text}.*; understood: a camera.*folder.*video.*line'):
        open_source(spec.format(folder=tmp_path))


def test_a_wrong_setting_of_the_line_is_refused():
    with pytest.raises(SettingError, match='colour'):
        open_source('line:colour=3')
