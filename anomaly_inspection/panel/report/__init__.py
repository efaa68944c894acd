# SPDX-License-Identifier: Apache-2.0
"""
The shift report in the browser.

"""
