# SPDX-License-Identifier: Apache-2.0
"""
Drift: notices that camera, lens, light, belt or parts are no longer what a recipe was taught on.

"""
