# SPDX-License-Identifier: Apache-2.0
"""
`python -m anomaly_inspection.cli`.

"""

from anomaly_inspection.cli import main

main()
