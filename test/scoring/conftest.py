# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the scorers' tests.

"""

from collections.abc import Iterator

import pytest

from anomaly_inspection.scoring import one_pass


@pytest.fixture(scope='module', params=['in one pass', 'by NumPy'])
def in_one_pass_and_by_numpy(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Each test runs with the C++ functions and without them.

    """
    with pytest.MonkeyPatch.context() as patch:
        if request.param == 'by NumPy':
            patch.setattr(one_pass, '_library', None)
        elif not one_pass.is_built():
            pytest.skip('the C++ functions are not built')
        yield
