# SPDX-License-Identifier: Apache-2.0
"""
Package the Python code alone, for machines without ROS; everything stands in setup.cfg.

"""

from setuptools import setup

setup()
