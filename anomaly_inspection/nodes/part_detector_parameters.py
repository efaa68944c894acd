# SPDX-License-Identifier: Apache-2.0
"""
The parameters of the part detector node.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.detecting.presence import PresenceSettings
from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.nodes.inspection_node import NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.received_frame import FrameConversion


@dataclass(frozen=True)
class PartDetectorParameters(NodeParameters):
    """
    Parameters of the part detector node.

    """

    trigger: str = parameter(
        'none',
        "What says that a part is there. 'none': nothing, the camera cuts parts itself and this "
        "node is idle. 'photo_eye': the beam on topic photo_eye. 'service': a call of ~/trigger. "
        "'presence': the image. 'every_frame': each frame, because the camera is triggered by "
        "hardware. With another than 'none' the camera's mode must be 'stream'.",
        choices=('none', 'photo_eye', 'service', 'presence', 'every_frame'),
        read_only=True,
    )
    mode: str = parameter(
        'belt',
        "'belt': one frame of each part. 'station': the part is held before the camera and gives "
        "station_frames frames; with trigger 'presence' or 'service'.",
        choices=('belt', 'station'),
        read_only=True,
    )
    image_transport: str = parameter(
        'raw',
        "How frames come: 'raw' = sensor_msgs/Image on image_raw, 'compressed' = JPEG or PNG as "
        'sensor_msgs/CompressedImage on image_raw/compressed.',
        choices=('raw', 'compressed'),
        read_only=True,
    )
    pixel_depth_bits: int = parameter(
        16,
        'How many bits of a 16-bit pixel (mono16, bayer_*16, 16-bit PNG) the camera uses; the '
        'upper 8 of them are kept. A 12-bit camera wants 12: with 16 its images would be black.',
        unit='bits',
        minimum=8,
        maximum=16,
        read_only=True,
    )
    part_encoding: str = parameter(
        'as_received',
        "Encoding of part/image: 'as_received' keeps gray gray and makes bgr8 of Bayer, YUV and "
        "images with alpha; 'mono8' and 'bgr8' convert, to match what the recipe was taught with.",
        choices=('as_received', 'mono8', 'bgr8'),
        read_only=True,
    )
    camera_timeout_s: float = parameter(
        2.0,
        'Without a frame for this long the camera counts as silent; with every_frame only when '
        'nobody publishes frames.',
        unit='s',
        minimum=0.1,
        maximum=60.0,
    )
    frame_timeout_s: float = parameter(
        0.2,
        'A frame further than this from the wanted moment does not show the part, which is then '
        "rejected. Shorter than the decider's deadline_s, longer than a frame takes to arrive.",
        unit='s',
        minimum=0.01,
        maximum=10.0,
        read_only=True,
    )
    stuck_after_s: float = parameter(
        10.0,
        'Photo eye or trigger column covered for longer than this is told as a warning.',
        unit='s',
        minimum=0.1,
        maximum=3600.0,
    )
    eye_distance_m: float = parameter(
        0.0,
        'From the photo eye to the middle of the picture along the belt; with belt_speed_m_per_s '
        'it delays the frame.',
        unit='m',
        minimum=0.0,
        maximum=100.0,
        read_only=True,
    )
    belt_speed_m_per_s: float = parameter(
        0.5, 'Speed of the belt.', unit='m/s', minimum=0.001, maximum=10.0, read_only=True
    )
    eye_delay_s: float = parameter(
        0.0,
        'Delay of the frame after the photo eye, in addition to that of eye_distance_m.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    part_interval_s: float = parameter(
        0.1,
        'Shortest time from one part to the next at the photo eye; earlier edges are chatter.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    region_of_interest: str = parameter(
        '',
        "Where parts are looked for, 'x,y,width,height' in pixels; '' = the whole frame. The belt "
        'alone: what moves beside it would be a part.',
        read_only=True,
    )
    trigger_x_px: int = parameter(
        0,
        'Column of the frame at which a part is wanted; 0 = the middle of region_of_interest.',
        unit='px',
        minimum=0,
        maximum=16384,
        read_only=True,
    )
    travel: str = parameter(
        'either',
        'Which way the belt runs in the picture; what crosses the column the other way, as a hand '
        'does or a part that is put back, is no part.',
        choices=('either', 'to_the_right', 'to_the_left'),
        read_only=True,
    )
    contrast_levels: float = parameter(
        16.0,
        'A part differs from the empty scene by more than this; lower sees fainter parts, and '
        'shadows.',
        unit='gray levels',
        minimum=2.0,
        maximum=200.0,
        read_only=True,
    )
    smallest_part_px: int = parameter(
        20,
        'What holds no square of this side is no part.',
        unit='px',
        minimum=1,
        maximum=4096,
        read_only=True,
    )
    smallest_gap_px: int = parameter(
        10,
        'A narrower empty stretch belongs to a part; a wider one parts two.',
        unit='px',
        minimum=1,
        maximum=4096,
        read_only=True,
    )
    camera_shift_px: int = parameter(
        4,
        'How far the picture may shift at once; larger blunts the edges of the scene.',
        unit='px',
        minimum=0,
        maximum=64,
        read_only=True,
    )
    patience_s: float = parameter(
        0.2,
        'A part for which no better frame has come for so long is published with the best so far: '
        "the belt stands. Shorter than the decider's deadline_s.",
        unit='s',
        minimum=0.01,
        maximum=10.0,
        read_only=True,
    )
    absorb_after_s: float = parameter(
        60.0,
        'A change that stands still for so long becomes part of the empty scene; longer than a '
        'part stands before the camera.',
        unit='s',
        minimum=1.0,
        maximum=86400.0,
        read_only=True,
    )
    learn_frames: int = parameter(
        20, 'Frames from which ~/learn_empty learns the empty scene.', minimum=2, maximum=500
    )
    station_interval_s: float = parameter(
        0.1,
        'Station mode: from one frame of the held part to the next.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    station_frames: int = parameter(
        5,
        "Station mode: frames taken of each part, the decider's station_frames or more.",
        minimum=1,
        maximum=100,
        read_only=True,
    )

    def frame_conversion(self) -> FrameConversion:
        """
        Give what the camera's frames become.

        """
        encoding = '' if self.part_encoding == 'as_received' else self.part_encoding
        return FrameConversion(self.pixel_depth_bits, encoding)

    def eye_to_frame_s(self) -> float:
        """
        Give the time from the photo eye to the wanted exposure.

        """
        return self.eye_delay_s + self.eye_distance_m / self.belt_speed_m_per_s

    def presence_settings(self) -> PresenceSettings:
        """
        Give what counts as a part in view.

        """
        region = None
        if self.region_of_interest:
            try:
                x, y, width, height = (int(n) for n in self.region_of_interest.split(','))
            except ValueError:
                raise SettingError(
                    f'region_of_interest = {self.region_of_interest!r} is refused: four whole '
                    "numbers of pixels are wanted, 'x,y,width,height'"
                ) from None
            region = RegionOfInterest(x, y, width, height)
        return PresenceSettings(
            region_of_interest=region,
            trigger_x_px=self.trigger_x_px or None,
            contrast_levels=self.contrast_levels,
            smallest_part_px=self.smallest_part_px,
            smallest_gap_px=self.smallest_gap_px,
            camera_shift_px=self.camera_shift_px,
            absorb_after_s=self.absorb_after_s,
        )
