# SPDX-License-Identifier: Apache-2.0
"""
What the panel knows of the cell, and what it may ask of it.

"""
