# SPDX-License-Identifier: Apache-2.0
"""
What the plant hears of the cell: topics, payloads, commands, and their delivery by MQTT.

"""
