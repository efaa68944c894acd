# SPDX-License-Identifier: Apache-2.0
"""
A typical first inspection node: scikit-image's SSIM in the image callback.

No alignment, one reference, default middleware and executor. It is the baseline of the latency
benchmark: it subscribes to the cell's part/image and gives a verdict.

"""

from __future__ import annotations

import sys
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from skimage.metrics import structural_similarity

#: Starts each line about a frame.
LATENCY = 'latency_s'
# Typical of a good part; the verdict does not matter here.
_LIMIT = 0.9


class NaiveNode(Node):
    """
    Compares every image with one picture and prints the time since its exposure.

    """

    def __init__(self, reference: str) -> None:
        super().__init__('naive')
        picture = cv2.imread(reference, cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise ValueError(f'{reference} is not an image')
        self._reference = picture
        self.create_subscription(Image, 'part/image', self._take_image, 10)

    def _take_image(self, message: Any) -> None:
        shape = (message.height, message.width, -1)
        image = np.frombuffer(message.data, np.uint8).reshape(shape)
        gray = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        similarity = structural_similarity(  # type: ignore[no-untyped-call]
            self._reference, gray, data_range=255
        )
        stamp = message.header.stamp
        latency_s = time.time() - (stamp.sec + 1e-9 * stamp.nanosec)
        verdict = 'PASS' if similarity > _LIMIT else 'REJECT'
        # Printed, not published, so that the figure does not depend on who listens.
        print(f'{LATENCY} {latency_s:.6f} {verdict}', flush=True)


def main() -> None:
    """
    Run the node with the picture named on the command line.

    """
    try:
        with rclpy.init():
            rclpy.spin(NaiveNode(sys.argv[1]))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == '__main__':
    main()
