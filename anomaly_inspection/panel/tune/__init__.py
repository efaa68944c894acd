# SPDX-License-Identifier: Apache-2.0
"""
The Tune page: limits, their ranges, calibration and challenge.

"""
