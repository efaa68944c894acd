# SPDX-License-Identifier: Apache-2.0
"""
The Recipes page: which recipes there are, and which of them is in force.

"""
