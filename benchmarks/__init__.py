# SPDX-License-Identifier: Apache-2.0
"""
Measure how good and how fast the inspection is, with figures that anyone can repeat.

Each of `accuracy`, `detection`, `alignment`, `part_detection`, `scoring` and `latency` is one
command, run from the root of the checkout as `python -m benchmarks.scoring`.

"""
