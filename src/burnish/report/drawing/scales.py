"""Scales of hyperparameters, as axes are laid out by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report.drawing.style import elide
from burnish.space import Choice, Float, Int, Range


def scale_of(r: Range) -> tuple[str, list[Any]]:
    """Return how an axis is laid out: values at equal distances, or from one end to the other."""
    if isinstance(r, Float) and r.step is None:
        return ("log" if r.log else "linear"), [r.low, r.high]
    if isinstance(r, Int) and r.log:
        return "log", [r.low, r.high]
    if isinstance(r, Choice):
        options = list(r.options)
        if all(isinstance(o, int | float) and not isinstance(o, bool) for o in options):
            options.sort(key=lambda o: float(o) if not isinstance(o, str) else 0.0)
        return "values", options
    return "values", list(r.values())


def position(scale: tuple[str, list[Any]], value: Any) -> float:
    """Return where a value lies on its axis, 0 to 1."""
    kind, ends = scale
    if kind == "values":
        numbers = [abs(float(o) - float(value)) for o in ends] if _are_numbers(ends) else []
        place = numbers.index(min(numbers)) if numbers else ends.index(value)
        return place / (len(ends) - 1) if len(ends) > 1 else 0.5
    low, high = (math.log(e) if kind == "log" else float(e) for e in ends)
    at = math.log(value) if kind == "log" else float(value)
    return (at - low) / (high - low) if high > low else 0.5


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def ticks_of(scale: tuple[str, list[Any]], room: int = 1000) -> list[tuple[float, str]]:
    """Return places and texts of ticks; side by side they have so many letters of room."""
    kind, values = scale
    if kind != "values":
        low, high = values
        middle = math.sqrt(low * high) if kind == "log" else (low + high) / 2
        return [(position(scale, v), f"{v:.3g}") for v in (low, middle, high)]
    longest = 9 if len(values) > 3 else 12
    texts = [f"{v:g}" if isinstance(v, float) else elide(str(v), longest) for v in values]
    letters = sum(len(text) + 1 for text in texts)
    step = max(1, math.ceil(len(values) / 6), math.ceil(letters / room))
    shown = list(zip(values, texts, strict=True))[::step]
    return [(position(scale, value), text) for value, text in shown]


def wrap(name: str) -> str:
    """Break a long name at an underscore near its middle."""
    text = elide(name, 26)
    cuts = [place for place, letter in enumerate(text) if letter == "_"]
    if len(text) <= 10 or not cuts:
        return text
    if len(text) > 18 and len(cuts) > 1:
        first = min(cuts, key=lambda c: abs(c - len(text) / 3))
        second = min((c for c in cuts if c > first), default=None, key=lambda c: c)
        if second is not None:
            return f"{text[: first + 1]}\n{text[first + 1 : second + 1]}\n{text[second + 1 :]}"
    cut = min(cuts, key=lambda c: abs(c - len(text) / 2))
    return f"{text[: cut + 1]}\n{text[cut + 1 :]}"


def name_winner(shown: Sequence[Mapping[str, Any]], best: int) -> str:
    """Say how the winner is marked, or why it is not among those that are shown."""
    if any(trial["number"] == best for trial in shown):
        return "red: the winner"
    return "the winner began longer"
