# SPDX-License-Identifier: Apache-2.0
"""
The viewer node: the picture an operator looks at, drawn off the hot path and only while somebody
looks.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
import math
from typing import Any, ClassVar, TYPE_CHECKING

import cv2
from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.deciding.limits import Limit
from anomaly_inspection.msg import Decision, LimitsInForce, Part, Score
from anomaly_inspection.nodes.detections import (
    DetectionStream,
    missing_sentence,
    vision_messages,
)
from anomaly_inspection.nodes.image_conversion import (
    array_from_image,
    float_array_from_image,
    image_from_array,
)
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters, steady_s, WARN
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED, WATCH_IMAGE
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.overlay import (
    draw_map,
    draw_overlay,
    draw_part,
    MeasureRow,
    regions_to_draw,
)
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from std_msgs.msg import Header

    from anomaly_inspection.scoring.region import Region

    # Images by their stamp in nanoseconds.
    _Store = OrderedDict[int, tuple[Header, NDArray[Any]]]

_IMAGES = 'part/image'
_WAITING_PARTS = 16


@dataclass(frozen=True)
class ViewerParameters(NodeParameters):
    """
    Parameters of the viewer node.

    """

    wait_for_map_s: float = parameter(
        0.3,
        'How long after the decision a picture waits for its map; then it is drawn without.',
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )
    jpeg_quality: int = parameter(
        90, 'Quality of overlay/compressed; higher is larger.', minimum=1, maximum=100
    )


@dataclass
class _Picture:
    stamp_ns: int = -1
    scores: dict[str, Score] = field(default_factory=dict)
    decision: Decision | None = None
    decided_s: float = 0.0


class ViewerNode(InspectionNode[ViewerParameters]):
    """
    Joins frame, score, anomaly map and decision by part; gives overlay and overlay/compressed. For
    pages with words of their own there are the part, the frame and the map alone. Where
    vision_msgs is installed it gives detections as well.

    While nobody subscribes to any of them it subscribes to nothing itself.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'images': ('map', 'lost *'),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('viewer', ViewerParameters, **options)
        self._pictures: OrderedDict[tuple[str, int], _Picture] = OrderedDict()
        self._images: _Store = OrderedDict()
        self._maps: _Store = OrderedDict()
        self._limits: LimitsInForce | None = None
        self._inputs: list[Any] = []
        self._part_images: ImageStream | None = None
        self._detections: DetectionStream | None = None
        self._drawn = 0

    def configure(self) -> None:
        """
        Make the endpoints that always stand.

        """
        self._overlay = self.publish_on(Image, 'overlay', IMAGE)
        self._compressed = self.publish_on(CompressedImage, 'overlay/compressed', IMAGE)
        self._part = self.publish_on(CompressedImage, 'overlay/part/compressed', IMAGE)
        self._frame = self.publish_on(CompressedImage, 'overlay/frame/compressed', IMAGE)
        self._map = self.publish_on(CompressedImage, 'overlay/map/compressed', IMAGE)
        self.listen(LimitsInForce, 'limits_in_force', self._take_limits, LATCHED)
        # What an attempt that failed has left is destroyed.
        self._inputs.clear()
        # A quality of service that is refused must fail here, not when somebody looks.
        self._start_listening()
        self._stop_listening()
        self.every(0.2, self._look_around)
        messages = vision_messages()
        self._detections = DetectionStream(self, messages) if messages is not None else None

    def deactivate(self) -> None:
        """
        Stop to listen.

        """
        self._stop_listening()
        if self._detections is not None:
            self._detections.close()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the number of pictures drawn, and of detections published.

        """
        return {
            'overlays drawn': self._drawn,
            'is watched': bool(self._inputs),
            'detections': self._detections.published if self._detections else missing_sentence(),
        }

    def _look_around(self) -> None:
        outputs = (self._overlay, self._compressed, self._part, self._frame, self._map)
        is_watched = any(output.get_subscription_count() for output in outputs)
        if is_watched and not self._inputs:
            self._start_listening()
        elif not is_watched and self._inputs:
            self._stop_listening()
        if self._part_images is not None:
            self._part_images.check()
        now = steady_s()
        for key, picture in list(self._pictures.items()):
            if picture.decision and now - picture.decided_s > self.parameters.wait_for_map_s:
                self._draw(key)

    def _start_listening(self) -> None:
        for message_type, topic, callback, qos in (
            (Part, 'part', self._take_part, EVENT),
            (Image, 'anomaly_map', self._take_map, WATCH_IMAGE),
            (Score, 'score', self._take_score, EVENT),
            (Decision, 'decision', self._take_decision, EVENT),
        ):
            self._inputs.append(self.listen(message_type, topic, callback, qos))
        self._part_images = ImageStream(self, Image, _IMAGES, self._take_image)

    def _stop_listening(self) -> None:
        for subscription in self._inputs:
            self.stop_listening(subscription)
        self._inputs.clear()
        if self._part_images is not None:
            self._part_images.close()
            self._part_images = None
        for problem in ('map', f'lost {_IMAGES}'):
            self.clear(problem)
        for store in (self._pictures, self._images, self._maps):
            store.clear()

    # Joining: by part where the message says it, by stamp where it is an image; in any order

    def _picture(self, message: Any) -> _Picture:
        key = (message.session_id, message.part_id)
        picture = self._pictures.setdefault(key, _Picture())
        while len(self._pictures) > _WAITING_PARTS:
            self._pictures.popitem(last=False)
        return picture

    def _take_limits(self, message: LimitsInForce) -> None:
        self._limits = message
        if self._detections is not None:
            self._detections.take_limits(message)

    def _take_part(self, message: Part) -> None:
        self._picture(message).stamp_ns = nanoseconds_from_stamp(message.frame_stamps[-1])
        self._draw_when_complete((message.session_id, message.part_id))

    def _take_score(self, message: Score) -> None:
        picture = self._picture(message)
        picture.stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        picture.scores[message.scorer] = message
        self._draw_when_complete((message.session_id, message.part_id))

    def _take_decision(self, message: Decision) -> None:
        picture = self._picture(message)
        picture.decision = message
        picture.decided_s = steady_s()
        self._draw_when_complete((message.session_id, message.part_id))

    def _take_image(self, message: Image) -> None:
        self._keep(self._images, message, array_from_image(message))

    def _take_map(self, message: Image) -> None:
        self._keep(self._maps, message, float_array_from_image(message))

    def _keep(self, store: _Store, message: Image, pixels: NDArray[Any]) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        store[stamp_ns] = (message.header, pixels)
        while len(store) > _WAITING_PARTS:
            store.popitem(last=False)
        for key in list(self._pictures):
            self._draw_when_complete(key)

    def _draw_when_complete(self, key: tuple[str, int]) -> None:
        picture = self._pictures[key]
        if picture.decision is None or picture.stamp_ns not in self._images:
            return
        is_measured = math.isfinite(picture.decision.anomaly_score)
        limits = self._limits.limits if self._limits else ()
        if is_measured and any(limit.scorer not in picture.scores for limit in limits):
            return
        expects_map = any(score.status == ScoreStatus.OK for score in picture.scores.values())
        if picture.stamp_ns in self._maps or not expects_map:
            self._draw(key)

    # Drawing

    def _draw(self, key: tuple[str, int]) -> None:
        picture = self._pictures.pop(key)
        header, pixels = self._images.pop(picture.stamp_ns, (None, None))
        _, anomaly_map = self._maps.pop(picture.stamp_ns, (None, None))
        if pixels is None or picture.decision is None:
            return
        if anomaly_map is not None and anomaly_map.shape != pixels.shape[:2]:
            self.report(
                'map',
                WARN,
                f'the anomaly map has {anomaly_map.shape[1]}x{anomaly_map.shape[0]} values, its '
                f'frame {pixels.shape[1]}x{pixels.shape[0]} pixels: drawn without',
            )
            anomaly_map = None
        elif anomaly_map is not None:
            self.clear('map')
        regions = regions_to_draw(picture.scores.values())
        if self._part.get_subscription_count():
            drawn = draw_part(pixels, anomaly_map=anomaly_map, regions=regions)
            self._part.publish(self._encoded(header, drawn))
        if self._frame.get_subscription_count():
            self._frame.publish(self._encoded(header, pixels))
        if self._map.get_subscription_count() and anomaly_map is not None:
            self._map.publish(self._encoded(header, draw_map(anomaly_map)))
        if self._overlay.get_subscription_count() or self._compressed.get_subscription_count():
            self._draw_with_words(picture, header, pixels, anomaly_map, regions)
        self._drawn += 1

    def _draw_with_words(
        self,
        picture: _Picture,
        header: Header,
        pixels: NDArray[Any],
        anomaly_map: NDArray[Any] | None,
        regions: list[Region],
    ) -> None:
        decision = picture.decision
        assert decision is not None
        drawn = draw_overlay(
            pixels,
            anomaly_map=anomaly_map,
            map_limit=1.0,
            regions=regions,
            rows=self._rows(picture.scores),
            verdict=_name(Verdict, decision.verdict, 'UNDECIDED'),
            reason=_reason(decision, picture.scores),
            title=_title(decision, picture.scores),
            recipe=f'{decision.recipe_name} v{decision.recipe_version}',
        )
        if self._overlay.get_subscription_count():
            self._overlay.publish(image_from_array(drawn, header.stamp, header.frame_id))
        if self._compressed.get_subscription_count():
            self._compressed.publish(self._encoded(header, drawn))

    def _encoded(self, header: Header, drawn: NDArray[Any]) -> CompressedImage:
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.parameters.jpeg_quality]
        _, encoded = cv2.imencode('.jpg', drawn, quality)
        return CompressedImage(header=header, format='jpeg', data=encoded.tobytes())

    def _rows(self, scores: dict[str, Score]) -> list[MeasureRow]:
        rows = []
        for in_force in self._limits.limits if self._limits else ():
            limit = Limit(
                in_force.scorer,
                in_force.measure,
                in_force.value,
                BadSide(in_force.bad_side),
                in_force.typical,
                minimum=float('-inf'),
            )
            score = scores.get(limit.scorer)
            values = {m.name: m.value for m in score.measures} if score else {}
            value = values.get(limit.measure, float('nan'))
            rows.append(
                MeasureRow(
                    name=limit.name,
                    value=value,
                    limit=limit.value,
                    relation='<=' if limit.bad_side is BadSide.HIGH else '>=',
                    unit=in_force.unit,
                    anomaly_score=limit.anomaly_score(value),
                )
            )
        return rows


def _title(decision: Decision, scores: dict[str, Score]) -> str:
    known = {Decision.KNOWN_AS_GOOD: ['known good'], Decision.KNOWN_AS_BAD: ['known bad']}
    classes = [score.part_class for score in scores.values() if score.part_class]
    return ', '.join([f'part {decision.part_id}', *known.get(decision.known_as, []), *classes])


def _reason(decision: Decision, scores: dict[str, Score]) -> str:
    """
    Give the reason in words, and how far the part lies beyond what was taught.

    """
    reason = _name(Reason, decision.reason, 'unknown').replace('_', ' ').lower()
    is_usable = (score for score in scores.values() if score.status == ScoreStatus.OK)
    remarks = dict.fromkeys(score.detail for score in is_usable if score.detail)
    return '; '.join([reason, *remarks])


def _name(kind: type[IntEnum], value: int, otherwise: str) -> str:
    return kind(value).name if value in set(kind) else otherwise


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(ViewerNode)
