# SPDX-License-Identifier: Apache-2.0
"""
Teaching on the line: recorded images, a draft taught in a process of its own, and its trial run.

"""
