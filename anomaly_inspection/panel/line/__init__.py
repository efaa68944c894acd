# SPDX-License-Identifier: Apache-2.0
"""
The Line page: what the cell does now.

"""
