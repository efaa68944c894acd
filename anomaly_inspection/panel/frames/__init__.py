# SPDX-License-Identifier: Apache-2.0
"""
Live pictures: from the node to every viewer.

"""
