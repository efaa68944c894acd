# SPDX-License-Identifier: Apache-2.0
"""
Who works at the page: accounts, passwords, sessions, tokens, and the record of what they changed.

"""
