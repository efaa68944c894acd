# SPDX-License-Identifier: Apache-2.0
"""
The Teach page: from good parts to a recipe in force.

"""
