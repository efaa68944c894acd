# SPDX-License-Identifier: Apache-2.0
"""
The JSON interface: the same for programs as the pages for people.

"""
