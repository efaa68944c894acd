# SPDX-License-Identifier: Apache-2.0
"""
The sets of real images: where they are, and which region is judged.

"""

from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from benchmarks.report import ROOT

DATASETS = ROOT.parent / 'shared' / 'datasets'
SETS = ('mvtec_bottle', 'bottle_line', 'casting', 'dice', 'magnetic_tile', 'deeppcb')
# Three bottles are in view; the middle one is judged.
REGIONS = {'bottle_line': RegionOfInterest(112, 4, 132, 280)}
