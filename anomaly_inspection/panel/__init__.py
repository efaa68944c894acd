# SPDX-License-Identifier: Apache-2.0
"""
The operator's page: what the cell does, teaching, tuning and reviewing, in a browser.

"""
