# SPDX-License-Identifier: Apache-2.0
"""
The Review page: rejected parts, and what people say about them.

"""
