"""Digits as people write them, drawn with pens of any width on canvases of any size.

    image = draw_digit("4 open", canvas=280, pen=3, random=np.random.default_rng(0))

Each form is a few strokes through points, which are moved a little, slanted and stretched, so that
no two drawings are the same. The pen is round; every other drawing is antialiased, and one in four
is light on black.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]


@dataclass(frozen=True)
class Form:
    """Strokes in a box from 0 to 1, of ``aspect`` (width over height); smooth ones are curves."""

    aspect: float
    strokes: tuple[tuple[Point, ...], ...]
    smooth: tuple[bool, ...]


def _arc(
    centre: Point, radii: Point, begin: float, end: float, num_points: int = 9
) -> tuple[Point, ...]:
    """Points on an ellipse, by angles in degrees: 0 is right, 90 is up."""
    turns = np.radians(np.linspace(begin, end, num_points))
    return tuple(
        (centre[0] + radii[0] * math.cos(turn), centre[1] - radii[1] * math.sin(turn))
        for turn in turns
    )


def _curved(aspect: float, *strokes: Sequence[Point]) -> Form:
    return Form(aspect, tuple(tuple(stroke) for stroke in strokes), (True,) * len(strokes))


def _straight(aspect: float, *strokes: Sequence[Point]) -> Form:
    return Form(aspect, tuple(tuple(stroke) for stroke in strokes), (False,) * len(strokes))


FORMS: dict[str, Form] = {
    "0 round": _curved(0.8, _arc((0.5, 0.5), (0.5, 0.5), 90, 450, 17)),
    "0 narrow": _curved(0.55, _arc((0.5, 0.5), (0.5, 0.5), 90, 450, 17)),
    "1 bar": _straight(0.05, [(0.5, 0), (0.5, 1)]),
    "1 short serif": _straight(0.14, [(0, 0.12), (0.9, 0), (0.9, 1)]),
    "1 long serif": _straight(0.3, [(0, 0.22), (0.9, 0), (0.9, 1)]),
    "1 serif and foot": _straight(0.5, [(0.1, 0.2), (0.5, 0), (0.5, 1)], [(0, 1), (1, 1)]),
    "2 plain": _curved(
        0.65,
        [(0.02, 0.24), (0.2, 0.05), (0.5, 0), (0.82, 0.08), (0.93, 0.28), (0.8, 0.5), (0, 1)],
        [(0, 1), (0.5, 1), (1, 1)],
    ),
    "2 loop": _curved(
        0.7,
        [
            (0.05, 0.22),
            (0.25, 0.04),
            (0.55, 0),
            (0.82, 0.1),
            (0.85, 0.32),
            (0.65, 0.6),
            (0.3, 0.92),
            (0.08, 0.96),
            (0.03, 0.84),
            (0.18, 0.76),
            (0.4, 0.86),
            (0.65, 0.97),
            (1, 0.93),
        ],
    ),
    "3 round": _curved(
        0.62,
        [
            (0.02, 0.12),
            (0.35, 0),
            (0.75, 0.05),
            (0.9, 0.22),
            (0.75, 0.41),
            (0.38, 0.47),
            (0.8, 0.54),
            (1, 0.74),
            (0.82, 0.94),
            (0.42, 1),
            (0, 0.9),
        ],
    ),
    "3 flat": _straight(
        0.62,
        [
            (0.05, 0),
            (0.92, 0),
            (0.45, 0.4),
            (0.8, 0.5),
            (0.95, 0.7),
            (0.82, 0.92),
            (0.45, 1),
            (0, 0.92),
        ],
    ),
    "4 open": _straight(0.7, [(0.2, 0.02), (0, 0.58), (1, 0.58)], [(0.78, 0.1), (0.7, 1)]),
    "4 closed": _straight(0.7, [(0.75, 1), (0.75, 0), (0, 0.68), (1, 0.68)]),
    "5 two strokes": Form(
        0.62,
        (
            (
                (0.15, 0.02),
                (0.1, 0.45),
                (0.45, 0.37),
                (0.85, 0.5),
                (1, 0.7),
                (0.8, 0.93),
                (0.4, 1),
                (0, 0.9),
            ),
            ((0.15, 0.02), (0.95, 0)),
        ),
        (True, False),
    ),
    "5 angular": _straight(
        0.62,
        [
            (0.95, 0),
            (0.12, 0),
            (0.06, 0.42),
            (0.6, 0.4),
            (0.95, 0.58),
            (0.92, 0.84),
            (0.6, 1),
            (0, 0.95),
        ],
    ),
    "6 curved": _curved(
        0.6,
        [
            (0.85, 0),
            (0.45, 0.15),
            (0.12, 0.45),
            (0, 0.72),
            (0.15, 0.95),
            (0.5, 1),
            (0.88, 0.92),
            (1, 0.74),
            (0.85, 0.57),
            (0.5, 0.53),
            (0.15, 0.63),
            (0.02, 0.78),
        ],
    ),
    "6 straight": _curved(
        0.55,
        [
            (0.6, 0),
            (0.25, 0.32),
            (0.04, 0.65),
            (0.12, 0.92),
            (0.5, 1),
            (0.9, 0.9),
            (0.98, 0.7),
            (0.75, 0.54),
            (0.4, 0.56),
            (0.06, 0.72),
        ],
    ),
    "7 plain": _straight(0.65, [(0, 0), (1, 0), (0.35, 1)]),
    "7 bar": _straight(0.65, [(0, 0), (1, 0), (0.35, 1)], [(0.28, 0.48), (0.96, 0.48)]),
    "8 one stroke": _curved(
        0.6,
        [
            (0.85, 0.12),
            (0.5, 0),
            (0.15, 0.12),
            (0.17, 0.32),
            (0.5, 0.48),
            (0.88, 0.64),
            (0.97, 0.85),
            (0.5, 1),
            (0.03, 0.85),
            (0.12, 0.64),
            (0.5, 0.48),
            (0.83, 0.32),
            (0.85, 0.12),
        ],
    ),
    "8 two rings": _curved(
        0.6,
        _arc((0.5, 0.24), (0.4, 0.24), -90, 270, 13),
        _arc((0.5, 0.74), (0.5, 0.26), 90, 450, 13),
    ),
    "9 straight": Form(
        0.55,
        (_arc((0.5, 0.28), (0.47, 0.28), 0, 360, 13), ((0.97, 0.2), (0.88, 1))),
        (True, False),
    ),
    "9 curved": _curved(
        0.6,
        [
            (0.95, 0.25),
            (0.8, 0.06),
            (0.45, 0),
            (0.1, 0.1),
            (0, 0.3),
            (0.15, 0.48),
            (0.5, 0.53),
            (0.85, 0.42),
            (0.96, 0.22),
            (0.97, 0.5),
            (0.85, 0.85),
            (0.5, 1),
            (0.12, 0.92),
        ],
    ),
}
"""All ten digits in the forms that people write; a name begins with the digit."""

UNKNOWN = ("1 long serif",)
"""Forms that MNIST hardly has: its writers' 1 is a bar, and what has a long serif and no foot is
their 7. No recipe repairs that; a network would have to be shown some."""

CANVASES = (28, 64, 128, 280, 500, 1000)
"""Sides of the canvases, in pixels."""

PENS = (1, 2, 3, 5, 8, 12, 20)
"""Widths of the pens, in pixels."""

THICKEST = 1 / 6
"""Share of the canvas's side that a pen may have: a digit is some 4 to 5 pens high then, which is
about the thickest of MNIST; with a wider pen the loops of 6, 8 and 9 close."""


def plausible_pairs() -> Iterator[tuple[int, int]]:
    """Each canvas with each pen that a digit can be written with on it."""
    for pen in PENS:
        for canvas in CANVASES:
            if pen <= canvas * THICKEST:
                yield canvas, pen


def draw_digit(
    form: str, *, canvas: int, pen: int, random: np.random.Generator, jitter: float = 0.02
) -> NDArray[np.uint8]:
    """Draw one digit; uint8, shape (canvas, canvas).

    Parameters
    ----------
    form
        One of `FORMS`.
    canvas, pen
        Side of the canvas and width of the stroke, in pixels.
    random
        Moves points (by ``jitter`` of the height, as standard deviation), slants by up to 0.2 of
        the height, stretches by up to 15 %, and places the digit.
    """
    shape = FORMS[form]
    height = random.uniform(0.55, 0.8) * canvas - pen
    width = height * shape.aspect * random.uniform(0.85, 1.15)
    slant = random.uniform(-0.1, 0.2)
    curves = []
    for stroke, smooth in zip(shape.strokes, shape.smooth, strict=True):
        points = np.array(stroke) * (width, height)
        points += random.normal(0, jitter * height, points.shape)
        if stroke[0] == stroke[-1]:
            points[-1] = points[0]  # A ring stays closed.
        points[:, 0] += slant * (height - points[:, 1])
        curves.append(_smooth(points) if smooth else points)
    everything = np.concatenate(curves)
    room = canvas - 1 - pen - np.ptp(everything, axis=0)
    corner = random.uniform(0.1, 0.9, 2) * np.maximum(0, room) + pen / 2 - everything.min(axis=0)
    page = _draw(
        [curve + corner for curve in curves], canvas, pen, antialiased=random.random() < 0.5
    )
    return page if random.random() < 0.25 else 255 - page


def _smooth(points: NDArray[np.float64], num_parts: int = 8) -> NDArray[np.float64]:
    """Points along a Catmull-Rom spline; a closed one is smooth where it closes."""
    closed = np.allclose(points[0], points[-1])
    before, after = (points[-2], points[1]) if closed else (points[0], points[-1])
    around = np.concatenate([before[None], points, after[None]])
    parts = np.arange(num_parts)[:, None] / num_parts
    curve = [
        0.5
        * (
            2 * b
            + (c - a) * parts
            + (2 * a - 5 * b + 4 * c - d) * parts**2
            + (3 * b - a - 3 * c + d) * parts**3
        )
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False)
    ]
    return np.concatenate([*curve, points[-1:]])


def _draw(
    curves: Sequence[NDArray[np.float64]], canvas: int, pen: int, *, antialiased: bool
) -> NDArray[np.uint8]:
    """White strokes with round ends on black."""
    fine = 4 if antialiased else 1
    page = Image.new("L", (canvas * fine, canvas * fine))
    draw = ImageDraw.Draw(page)
    for curve in curves:
        scaled = [(float(x) * fine, float(y) * fine) for x, y in curve]
        draw.line(scaled, fill=255, width=pen * fine, joint="curve")
        radius = pen * fine / 2
        if radius > 1:
            for x, y in (scaled[0], scaled[-1]):
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(page.reduce(fine) if antialiased else page)
