# SPDX-License-Identifier: Apache-2.0
"""
The layout of a recipe folder.

::

    <name>/
      recipe.yaml          what people read and may edit
      references/000.png   good frames as taught; the first is the alignment reference
      statistics.npz       '<scorer>/<array>' fitted data,
                           'good/<scorer>.<measure>' held-out good parts
                           'conditions/<name>' light, sharpness, place of good parts
      images/000000.png    the images it was taught on, where they are kept; to judge parts, nobody
                           opens them
      images.txt           their SHA-256 and names, one line each
      model/<scorer>/*.*   fitted data whose name holds a dot: files of their own, as a network is

Beside it, for all its versions, what people said about parts (see the room `reviewing`)::

    <name>.review/must_reject/
      parts.txt            SHA-256 and name of each confirmed bad part, one line each
      <SHA-256>.png        their pictures

Nothing else may stand in the folder. Hidden files (.git, an editor's swap file) and backups
(recipe.yaml~) are no part of the recipe: they are never opened.

"""

FORMAT_VERSION = 1
#: The folder beside a recipe, and the confirmed bad parts in it.
REVIEW_SUFFIX, MUST_REJECT, MUST_REJECT_LIST = '.review', 'must_reject', 'parts.txt'
#: Each takes about a tenth of a second when a recipe is loaded.
MOST_BAD_PARTS = 200
MOST_REFERENCES = 20

YAML = 'recipe.yaml'
STATISTICS = 'statistics.npz'
REFERENCES = 'references'
MODEL = 'model'
IMAGES = 'images'
IMAGE_LIST = 'images.txt'
MOST_TEACHING_IMAGES = 10_000
#: Teaching images that take more than this on disk are only kept when somebody asks for it.
USUAL_IMAGES_MB = 200

# A file of a scorer: a dot inside tells it from an array.
MODEL_FILE_NAME = r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+'
CREATED_FORMAT = '%Y-%m-%dT%H:%M:%SZ'


def reference_name(index: int) -> str:
    """
    Give the file name of a reference.

    """
    return f'{index:03d}.png'


def image_name(index: int) -> str:
    """
    Give the file name of a teaching image.

    """
    return f'{index:06d}.png'
