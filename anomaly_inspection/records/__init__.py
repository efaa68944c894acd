# SPDX-License-Identifier: Apache-2.0
"""
Records: the database of what a line has produced, its pictures, exports and reports.

"""
