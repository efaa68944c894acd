# SPDX-License-Identifier: Apache-2.0
"""
What stands around the application: who may reach which address, and how a request is refused.

"""
