# SPDX-License-Identifier: Apache-2.0
"""
The certificate of the operator's page: what cannot be used is refused in words.

"""

import importlib.util
import os
from pathlib import Path
import re

import pytest

from anomaly_inspection.errors import SettingError
from support.tls import write_certificate, write_key, write_locked_key

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('nicegui') is None, reason='nicegui is not installed'
)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tls')
    _, key = write_certificate(folder)
    write_key(folder / 'other.pem')
    write_locked_key(key, folder / 'locked.pem')
    (folder / 'garbage.pem').write_bytes(b'\xffgarbage')
    first, *_, last = lines = key.read_text().splitlines()
    (folder / 'broken.pem').write_text('\n'.join([first, *lines[5:9], last]))
    (folder / 'folder').mkdir()
    return folder


def refusal(certificate, key):
    from anomaly_inspection.panel.server import PanelServer, ServerSettings

    settings = ServerSettings(port=0, certificate=str(certificate), key=str(key))
    with pytest.raises(SettingError) as refused:
        PanelServer(settings, None).start()
    return str(refused.value)


@pytest.mark.parametrize(('certificate', 'key'), [('cert.pem', ''), ('', 'key.pem')])
def test_one_without_the_other_is_refused(certificate, key):
    assert 'give both for TLS, or neither' in refusal(certificate, key)


@pytest.mark.parametrize(
    ('certificate', 'key', 'words'),
    [
        ('none.pem', 'key.pem', r'certificate = \S+/none\.pem is refused: there is no such file'),
        ('cert.pem', 'none.pem', r'key = \S+/none\.pem is refused: there is no such file'),
        ('cert.pem', 'folder', r'key = \S+/folder is refused: it is a folder'),
        ('garbage.pem', 'key.pem', r'certificate = \S+ is refused: no certificate in PEM format'),
        ('key.pem', 'key.pem', r'certificate = \S+ is refused: no certificate in PEM format'),
        ('cert.pem', 'cert.pem', r'key = \S+ is refused: no private key in PEM format'),
        ('cert.pem', 'locked.pem', r'key = \S+ is refused: it is locked with a password'),
        ('cert.pem', 'other.pem', r'key = \S+ is refused: it does not belong to certificate = \S'),
        ('cert.pem', 'broken.pem', r'cert\.pem with key = \S+ is refused: '),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(files, certificate, key, words):
    assert re.search(words, refusal(files / certificate, files / key))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every file')
def test_a_file_that_may_not_be_read_is_named(files):
    secret = files / 'secret.pem'
    secret.write_bytes((files / 'key.pem').read_bytes())
    secret.chmod(0)
    assert re.search(
        r'key = \S+ is refused: Permission denied', refusal(files / 'cert.pem', secret)
    )


def test_a_path_may_begin_at_home(files, monkeypatch):
    monkeypatch.setenv('HOME', str(files))
    assert 'is refused: it does not belong to' in refusal('~/cert.pem', '~/other.pem')
    assert Path('~/cert.pem').expanduser() == files / 'cert.pem'
