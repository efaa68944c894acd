# SPDX-License-Identifier: Apache-2.0
"""
Visual anomaly inspection for robotic sorting cells, taught on good parts only.

"""

import pkgutil

# The generated messages live in an installed package of the same name; this lets the source tree
# and it be one package.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = '0.1.0'
