# SPDX-License-Identifier: Apache-2.0
"""
The serial protocol spoken with the ESP32.

"""
