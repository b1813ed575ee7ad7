"""The labeled objects of a street scene, each drawn from simple parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from yocc.models.street.shapes import Color, Part, bar, box, ellipse, polygon, shade

_GLASS: Color = (60, 75, 92)
_RUBBER: Color = (28, 28, 30)
_SKINS: tuple[Color, ...] = ((232, 190, 160), (198, 146, 110), (140, 94, 66), (88, 58, 42))


def any_color(random: np.random.Generator) -> Color:
    """Grey of any brightness in one of three cases, otherwise any color."""
    if random.random() < 1 / 3:
        grey = int(random.integers(30, 235))
        return grey, grey, min(255, grey + 6)
    red, green, blue = (int(value) for value in random.integers(25, 235, 3))
    return red, green, blue


def car(random: np.random.Generator) -> list[Part]:
    """A car from the side, or in one of three cases from the front or the back."""
    paint = any_color(random)
    if random.random() < 1 / 3:
        return _car_end(random, paint)
    length = random.uniform(2.4, 3.2)
    left, right = -length / 2, length / 2
    deck = random.uniform(0.5, 0.62)
    bonnet, boot = random.uniform(0.2, 0.3), random.uniform(0.05, 0.22)
    front, back = right - bonnet * length, left + boot * length
    slope = random.uniform(0.15, 0.5)
    pillar = (back + front) / 2 + random.uniform(-0.1, 0.1)
    parts = [
        polygon([(back, deck), (front, deck), (front - slope, 1.0), (back + slope * 0.6, 1.0)], paint),
        polygon(
            [
                (back + 0.12, deck),
                (front - 0.12, deck),
                (front - slope - 0.02, 0.93),
                (back + slope * 0.6 + 0.05, 0.93),
            ],
            _GLASS,
        ),
        box(pillar - 0.03, deck, pillar + 0.03, 0.95, paint),
        polygon([(left, 0.2), (right, 0.2), (right, deck - 0.1), (front, deck), (left + 0.03, deck)], paint),
        box(left, 0.2, right, 0.27, shade(paint, 0.6)),
        box(right - 0.12, deck - 0.2, right, deck - 0.11, (245, 240, 200)),
        box(left, deck - 0.18, left + 0.09, deck - 0.06, (190, 25, 25)),
    ]
    for x in (left + 0.2 * length, right - 0.2 * length):
        parts += [ellipse(x, 0.2, 0.4, 0.4, _RUBBER), ellipse(x, 0.2, 0.2, 0.2, (150, 150, 155), corners=10)]
    return parts


def _car_end(random: np.random.Generator, paint: Color) -> list[Part]:
    half = random.uniform(0.58, 0.7)
    lamp: Color = (245, 240, 205) if random.random() < 0.5 else (200, 25, 25)
    parts = [
        box(-half * 0.92, 0.0, -half * 0.62, 0.25, _RUBBER),
        box(half * 0.62, 0.0, half * 0.92, 0.25, _RUBBER),
        polygon([(-half * 0.95, 0.55), (half * 0.95, 0.55), (half * 0.68, 1.0), (-half * 0.68, 1.0)], paint),
        polygon([(-half * 0.82, 0.56), (half * 0.82, 0.56), (half * 0.6, 0.93), (-half * 0.6, 0.93)], _GLASS),
        box(-half, 0.14, half, 0.57, paint),
        box(-half, 0.14, half, 0.24, shade(paint, 0.55)),
        box(-0.17, 0.24, 0.17, 0.33, (225, 225, 215)),
    ]
    return parts + [box(side - 0.12, 0.4, side + 0.12, 0.5, lamp) for side in (-half + 0.13, half - 0.13)]


def bus(random: np.random.Generator) -> list[Part]:
    """A bus from the side, or in one of four cases from the front."""
    paint = any_color(random)
    stripe = any_color(random)
    if random.random() < 0.25:
        half = random.uniform(0.38, 0.46)
        return [
            box(-half * 0.9, 0.0, -half * 0.6, 0.12, _RUBBER),
            box(half * 0.6, 0.0, half * 0.9, 0.12, _RUBBER),
            box(-half, 0.06, half, 1.0, paint),
            box(-half * 0.9, 0.4, half * 0.9, 0.8, _GLASS),
            box(-half * 0.7, 0.86, half * 0.7, 0.95, (30, 30, 20)),
            box(-half * 0.92, 0.15, -half * 0.6, 0.22, (245, 240, 205)),
            box(half * 0.6, 0.15, half * 0.92, 0.22, (245, 240, 205)),
        ]
    half = random.uniform(1.25, 1.8)
    parts = [box(-half, 0.12, half, 1.0, paint), box(-half, 0.3, half, 0.4, stripe)]
    count = int(random.integers(5, 9))
    pitch = 2 * half / count
    for number in range(count):
        left = -half + number * pitch
        parts.append(box(left + 0.1 * pitch, 0.5, left + 0.9 * pitch, 0.85, _GLASS))
    door = -half + (count - 1) * pitch
    parts.append(box(door + 0.15 * pitch, 0.14, door + 0.85 * pitch, 0.85, shade(_GLASS, 1.3)))
    for x in (-0.6 * half, 0.58 * half):
        parts += [ellipse(x, 0.13, 0.27, 0.27, _RUBBER), ellipse(x, 0.13, 0.13, 0.13, (150, 150, 155), corners=10)]
    return parts


def truck(random: np.random.Generator) -> list[Part]:
    """A lorry from the side: a cab and a box that has no windows."""
    paint, load = any_color(random), any_color(random)
    half = random.uniform(0.95, 1.5)
    cab = half - random.uniform(0.5, 0.6)
    roof = random.uniform(0.7, 0.85)
    parts = [
        box(-half, 0.16, half, 0.26, shade(paint, 0.4)),
        box(-half, 0.24, cab - 0.05, 1.0, load),
        polygon([(cab, 0.2), (half, 0.2), (half, 0.5), (half - 0.13, roof), (cab, roof)], paint),
        polygon([(cab + 0.15, 0.5), (half - 0.04, 0.5), (half - 0.15, roof - 0.06), (cab + 0.15, roof - 0.06)], _GLASS),
        box(half - 0.08, 0.28, half, 0.36, (245, 240, 205)),
    ]
    if random.random() < 0.6:
        left = random.uniform(-half + 0.1, -0.3)
        sign = any_color(random)
        parts.append(box(left, 0.45, left + random.uniform(0.3, 0.8) * (cab - left), 0.8, sign))
    for x in (-0.75 * half, -0.75 * half + 0.32, cab + 0.27):
        parts += [ellipse(x, 0.14, 0.28, 0.28, _RUBBER), ellipse(x, 0.14, 0.13, 0.13, (140, 140, 145), corners=10)]
    return parts


def _person(random: np.random.Generator, hip: float, x: float = 0.0) -> list[Part]:
    """Trunk, head and arms of someone whose hip is at height `hip`; the trunk is 0.34 high."""
    shirt, skin, hair = any_color(random), _SKINS[int(random.integers(4))], any_color(random)
    lean = random.uniform(-0.03, 0.03)
    neck = (x + lean, hip + 0.36)
    reach = random.uniform(-0.16, 0.16)
    shoulders = hip + 0.33
    trunk = [(x - 0.08, hip - 0.02), (x + 0.08, hip - 0.02), (neck[0] + 0.11, shoulders), (neck[0] - 0.11, shoulders)]
    crown, brow = hip + 0.52, hip + 0.45
    cap = [(neck[0] - 0.065, brow), (neck[0] + 0.065, brow), (neck[0] + 0.04, crown), (neck[0] - 0.04, crown)]
    return [
        bar((x - 0.08, hip + 0.32), (x - 0.1 - reach, hip + 0.03), 0.06, shade(shirt, 0.8)),
        polygon(trunk, shirt),
        bar((x + 0.09, hip + 0.32), (x + 0.1 + reach, hip + 0.03), 0.06, shade(shirt, 0.9)),
        ellipse(neck[0], hip + 0.43, 0.12, 0.16, skin, corners=12),
        polygon(cap, hair),
    ]


def pedestrian(random: np.random.Generator) -> list[Part]:
    """Someone walking or standing, in trousers or a skirt, with or without a bag."""
    trousers = any_color(random)
    stride = random.uniform(0.0, 0.16)
    parts = [
        bar((-0.03, 0.5), (-0.03 - stride, 0.02), 0.09, shade(trousers, 0.85)),
        bar((0.03, 0.5), (0.03 + stride, 0.02), 0.09, trousers),
        box(-0.06 - stride, 0.0, 0.03 - stride, 0.04, _RUBBER),
        box(0.0 + stride, 0.0, 0.09 + stride, 0.04, _RUBBER),
    ]
    if random.random() < 0.25:
        parts.append(polygon([(-0.15, 0.25), (0.15, 0.25), (0.08, 0.52), (-0.08, 0.52)], trousers))
    parts += _person(random, hip=0.48)
    if random.random() < 0.3:
        side = random.choice([-0.16, 0.16])
        parts.append(box(side - 0.06, 0.33, side + 0.06, 0.5, any_color(random)))
    return parts


def cyclist(random: np.random.Generator) -> list[Part]:
    """Someone on a bicycle, from the side."""
    frame, trousers = any_color(random), any_color(random)
    wheel: Color = (35, 35, 38)
    back, front, radius = -0.3, 0.32, 0.19
    parts: list[Part] = []
    for hub in (back, front):
        for number in range(12):
            first, second = np.pi * number / 6, np.pi * (number + 1) / 6
            parts.append(
                bar(
                    (hub + radius * np.cos(first), radius + radius * np.sin(first)),
                    (hub + radius * np.cos(second), radius + radius * np.sin(second)), 0.045, wheel,
                )
            )  # fmt: skip
    saddle, pedals, bars = (-0.12, 0.48), (-0.02, 0.2), (0.24, 0.52)
    pedal = random.uniform(0, 2 * np.pi)
    foot = (pedals[0] + 0.08 * np.cos(pedal), pedals[1] + 0.08 * np.sin(pedal))
    knee = (0.12, 0.4)
    for start, end in (
        ((back, radius), saddle),
        (saddle, pedals),
        (pedals, bars),
        ((back, radius), pedals),
        (saddle, bars),
    ):
        parts.append(bar(start, end, 0.035, frame))
    parts.append(bar(bars, (front, radius), 0.035, frame))
    parts += [bar(saddle, knee, 0.09, trousers), bar(knee, foot, 0.08, trousers)]
    parts += _person(random, hip=0.48, x=-0.08)
    parts.append(bar((0.0, 0.76), bars, 0.05, _SKINS[int(random.integers(4))]))
    return parts


def traffic_light(random: np.random.Generator) -> list[Part]:
    """A housing with three lamps, one or two of them lit; its pole is scenery and not part of the object."""
    housing = shade((40, 42, 40), random.uniform(0.6, 1.8))
    rim = (200, 190, 60) if random.random() < 0.3 else shade(housing, 1.6)
    lamps: tuple[Color, ...] = ((60, 200, 90), (245, 180, 30), (235, 40, 30))
    lit = int(random.integers(3))
    parts = [box(-0.21, 0.0, 0.21, 1.0, rim), box(-0.18, 0.03, 0.18, 0.97, housing)]
    for number, lamp in enumerate(lamps):
        color = lamp if number == lit else shade(lamp, 0.25)
        parts.append(ellipse(0.0, 0.2 + 0.3 * number, 0.24, 0.24, color, corners=12))
    return parts


def stop_sign(random: np.random.Generator) -> list[Part]:
    """A red octagon with a white rim and a word too small to read; its pole is scenery."""
    red: Color = (int(random.integers(165, 215)), int(random.integers(15, 45)), int(random.integers(20, 50)))
    parts = [
        ellipse(0.0, 0.5, 1.08, 1.08, (235, 235, 232), corners=8, turn=np.pi / 8),
        ellipse(0.0, 0.5, 0.96, 0.96, red, corners=8, turn=np.pi / 8),
    ]
    for number in range(4):
        left = -0.34 + 0.18 * number
        parts.append(box(left, 0.38, left + 0.12, 0.62, (238, 238, 235)))
    return parts


def cone(random: np.random.Generator) -> list[Part]:
    """A traffic cone with one or two white bands."""
    orange: Color = (int(random.integers(215, 250)), int(random.integers(85, 125)), int(random.integers(20, 50)))
    parts = [
        box(-0.36, 0.0, 0.36, 0.1, shade(orange, 0.8)),
        polygon([(-0.26, 0.1), (0.26, 0.1), (0.05, 1.0), (-0.05, 1.0)], orange),
    ]
    for bottom in (0.3, 0.6)[: int(random.integers(1, 3))]:
        low, high = _cone_half(bottom), _cone_half(bottom + 0.15)
        white: Color = (236, 236, 232)
        parts.append(polygon([(-low, bottom), (low, bottom), (high, bottom + 0.15), (-high, bottom + 0.15)], white))
    return parts


def _cone_half(height: float) -> float:
    """Half the width of a cone at a height."""
    return 0.26 - 0.21 * (height - 0.1) / 0.9


DRAWN: Mapping[str, Callable[[np.random.Generator], list[Part]]] = MappingProxyType(
    {
        "car": car,
        "bus": bus,
        "truck": truck,
        "pedestrian": pedestrian,
        "cyclist": cyclist,
        "traffic light": traffic_light,
        "stop sign": stop_sign,
        "cone": cone,
    }
)
"""How each class is drawn, by class name."""

CLASSES: tuple[str, ...] = tuple(DRAWN)
"""Class names in the order of their numbers."""
