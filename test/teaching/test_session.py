# SPDX-License-Identifier: Apache-2.0
"""
Sessions on disk: nothing recorded is ever lost, and nothing from outside gets in unchecked.

"""

from datetime import datetime, timedelta, timezone, UTC
import errno
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.teaching import session as session_module
from anomaly_inspection.teaching.session import (
    decode_file,
    LARGEST_UPLOAD_BYTES,
    LEAST_FREE_BYTES,
    recipe_name_of,
    TeachingFolder,
    UNFINISHED,
)

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    return TeachingFolder(tmp_path / 'teaching')


@pytest.fixture
def session(folder):
    return folder.begin('Pump 3', NOW)


def picture(level=90):
    image = np.full((40, 60, 3), level, np.uint8)
    image[10:20, 10:20] = 200
    return image


def png_header_of(width, height):
    """
    A PNG whose header promises a large picture: a few bytes on disk, gigabytes in memory.

    """

    def block(kind, content):
        return (
            struct.pack('>I', len(content))
            + kind
            + content
            + struct.pack('>I', zlib.crc32(kind + content))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + block(b'IHDR', header)
        + block(b'IDAT', zlib.compress(b''))
        + block(b'IEND', b'')
    )


def test_images_come_back_as_they_were_in_the_order_in_which_they_came(folder, session):
    names = [session.add(picture(level)) for level in (50, 60, 70)]
    again = folder.open(session.name)
    assert again.image_names() == names == ['000001.png', '000002.png', '000003.png']
    for name, level in zip(names, (50, 60, 70), strict=True):
        assert np.array_equal(again.read_image(name), picture(level))
    assert (again.product, again.created) == ('Pump 3', NOW)


def test_the_newest_session_comes_first(folder):
    old = folder.begin('pump', NOW)
    new = folder.begin('valve', NOW + timedelta(days=1))
    assert [one.name for one in folder.sessions()] == [new.name, old.name]


def test_two_sessions_of_one_product_in_one_second_have_two_folders(folder):
    names = {folder.begin('pump', NOW).name for _ in range(4)}
    assert len(names) == 4
    assert {one.name for one in folder.sessions()} == names


def test_the_time_of_a_session_is_kept_whatever_the_time_zone(folder):
    local = NOW.astimezone(timezone(timedelta(hours=9)))
    assert folder.begin('pump', local).created == NOW


def test_a_deleted_image_is_gone_and_its_number_is_not_given_again(session):
    names = [session.add(picture()) for _ in range(3)]
    assert session.delete(names[1:]) == 2
    assert session.image_names() == names[:1]
    assert session.add(picture()) == '000004.png'


@pytest.mark.parametrize(
    'name', ['000009.png', '../session.json', '/etc/passwd', '', '000001.png\n', '.000001.png']
)
def test_one_wrong_name_deletes_nothing(session, name):
    names = [session.add(picture()), session.add(picture())]
    with pytest.raises(SettingError, match='has no image'):
        session.delete([names[0], name])
    assert session.image_names() == names


def test_a_link_is_no_image(session, tmp_path):
    (tmp_path / 'secret').write_text('secret')
    (session.folder / 'images' / '000007.png').symlink_to(tmp_path / 'secret')
    with pytest.raises(SettingError, match='has no image'):
        session.read_image('000007.png')


@pytest.mark.parametrize('name', ['', '..', '../x', 'a/b', 'Pump', 'pump ', '.hidden', 'x' * 90])
def test_a_name_from_outside_opens_no_other_folder(folder, session, name, tmp_path):
    (tmp_path / 'x' / 'images').mkdir(parents=True)
    with pytest.raises(SettingError, match='there is no teaching session'):
        folder.open(name)


@pytest.mark.parametrize('product', ['', '   ', 'x' * 81, 'pump\n3', 'pump\x1b[31m'])
def test_a_product_without_a_printable_name_is_refused(folder, product):
    with pytest.raises(SettingError, match='allowed: 1 to 80 characters'):
        folder.begin(product, NOW)
    assert folder.sessions() == []


@pytest.mark.parametrize(
    ('product', 'name'),
    [
        ('Pumpe Nr. 3', 'pumpe_nr_3'),
        ('Würfel', 'wurfel'),
        ('../../etc', 'etc'),
        ('骰子', 'product'),
        ('<script>', 'script'),
        ('a' * 200, 'a' * 40),
    ],
)
def test_a_product_becomes_a_name_for_a_folder(product, name):
    assert recipe_name_of(product) == name


def test_an_uploaded_file_is_decoded_and_written_anew(session):
    content = cv2.imencode('.jpg', picture())[1].tobytes()
    image = decode_file('good.jpg', content)
    name = session.add(image)
    assert (session.folder / 'images' / name).read_bytes().startswith(b'\x89PNG')
    assert np.array_equal(session.read_image(name), image)


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        (b'', 'empty'),
        (b'GIF89a', 'not a PNG, JPEG, BMP or TIFF'),
        (b'<svg onload="alert(1)"/>', 'not a PNG, JPEG, BMP or TIFF'),
        (cv2.imencode('.png', picture())[1].tobytes()[:-20], 'truncated'),
        (png_header_of(16_000, 9_000), 'allowed: 40 megapixels'),
        (png_header_of(100_000, 100_000), 'allowed: 1 to 16384 px a side'),
        (cv2.imencode('.png', picture().astype(np.uint16))[1].tobytes(), '16 bits'),
    ],
)
def test_an_upload_that_is_no_sound_image_is_refused(content, why):
    with pytest.raises(SettingError, match=why):
        decode_file('<b>evil</b>\n.png', content)


def test_an_upload_that_is_too_large_is_refused_unread():
    with pytest.raises(SettingError, match='allowed: 32 MB'):
        decode_file('large.png', bytes(LARGEST_UPLOAD_BYTES + 1))


def test_a_full_disk_is_named_and_costs_no_image(session, monkeypatch):
    name = session.add(picture())

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session_module.os, 'fsync', full)
    with pytest.raises(SettingError, match=r'No space left.*the 1 images .* are safe'):
        session.add(picture())
    monkeypatch.undo()
    assert os.listdir(session.folder / 'images') == [name]
    assert session.add(picture())


def test_recording_needs_space_on_the_disk(session, monkeypatch):
    session.check_space()
    monkeypatch.setattr(
        session_module.shutil,
        'disk_usage',
        lambda path: type('Usage', (), {'free': LEAST_FREE_BYTES - 1})(),
    )
    with pytest.raises(SettingError, match='needs 200 MB'):
        session.check_space()


def test_a_session_takes_no_more_images_than_teaching_uses(session, monkeypatch):
    monkeypatch.setattr(session_module, 'MOST_IMAGES', 2)
    session.add(picture())
    session.add(picture())
    with pytest.raises(SettingError, match='is full: 2 images; allowed: 2'):
        session.add(picture())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(SettingError, match=r'cannot begin a teaching session in .*file'):
        TeachingFolder(tmp_path / 'file').begin('pump', NOW)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"product": 3}', '{"created": "yesterday"}'])
def test_damaged_settings_cost_no_image(folder, session, text):
    session.add(picture())
    (session.folder / 'session.json').write_text(text)
    again = folder.open(session.name)
    assert again.image_names() == ['000001.png']
    assert again.product == session.name


def test_what_a_dead_process_left_half_done_is_removed_and_nothing_else(folder, session):
    name = session.add(picture())
    half = session.folder / 'images' / '.000002.png'
    half.write_bytes(b'half an image')
    work = session.folder / f'{UNFINISHED}1234'
    (work / 'recipe').mkdir(parents=True)
    (folder.path / f'{UNFINISHED}5678' / 'images').mkdir(parents=True)
    (folder.path / '.ssh').mkdir()
    (folder.path / '.ssh' / 'id').write_text('not ours')
    (folder.path / 'notes').mkdir()
    folder.tidy()
    assert [one.name for one in folder.sessions()] == [session.name]
    assert session.image_names() == [name]
    assert not half.exists()
    assert not work.exists()
    assert sorted(os.listdir(folder.path)) == ['.ssh', 'notes', session.name]
    assert (folder.path / '.ssh' / 'id').read_text() == 'not ours'


def test_a_deleted_session_is_gone_and_the_others_stay(folder, session):
    other = folder.begin('valve', NOW)
    folder.delete(session.name)
    assert [one.name for one in folder.sessions()] == [other.name]
    assert os.listdir(folder.path) == [other.name]
