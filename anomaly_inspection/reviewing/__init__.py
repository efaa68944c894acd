# SPDX-License-Identifier: Apache-2.0
"""
What people said about parts, and what follows from it for the limits and for new recipes.

"""
