"""Ranges of hyperparameters and the space that they span.

A range says which values a hyperparameter may take; it draws nothing (samplers
do) and knows nothing of models. Values are plain ``int``, ``float``, ``str`` and
``bool``, so that they can be written to TOML and JSON and hashed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from burnish.errors import name_what_exists

Value = int | float | str | bool
"""What a hyperparameter can be."""

MAX_VALUES = 10_000
"""Most values of a range that is searched: a file must not fill the memory with them."""

Params = Mapping[str, Value]
"""Values of hyperparameters by name."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Int:
    """Whole numbers from ``low`` to ``high``, both included, in steps of ``step``.

    Raises
    ------
    ValueError
        If the range is empty, the step is not positive, or ``log`` is asked for
        with a step or with a ``low`` below 1.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        if self.step < 1:
            raise ValueError(f"step must be at least 1, not {self.step}")
        if self.log and (self.low < 1 or self.step != 1):
            raise ValueError("a logarithmic range needs low >= 1 and no step")

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int)
            and _is_int(value)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def values(self) -> tuple[int, ...]:
        """Every value, lowest first."""
        return tuple(range(self.low, self.high + 1, self.step))

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step != 1 else ""
        return f"a whole number from {self.low} to {self.high}{step}"


@dataclass(frozen=True)
class Float:
    """Numbers from ``low`` to ``high``; with a step: low, low + step, ... up to high.

    A stepped range counts from ``low``, as the published study's does: 0.0001 to
    0.01 with step 0.001 means 0.0001, 0.0011, ..., 0.0091.

    Raises
    ------
    ValueError
        If the range is empty, the step is not positive, or ``log`` is asked for
        with a step or with a ``low`` that is not positive.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("both ends must be finite")
        if self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        if self.step is not None and not (self.step > 0 and math.isfinite(self.step)):
            raise ValueError(f"step must be positive, not {self.step}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range needs low > 0 and no step")

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if not math.isfinite(value):
            return False
        if self.step is None:
            return self.low <= value <= self.high
        return any(math.isclose(value, v, rel_tol=1e-9, abs_tol=1e-12) for v in self.values())

    def values(self) -> tuple[float, ...]:
        """Every value of a stepped range, lowest first.

        Raises
        ------
        ValueError
            If the range has no step, and so no countable values.
        """
        if self.step is None:
            raise ValueError("a continuous range cannot be listed; give it a step")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        # Rounding gives 0.15, not 0.15000000000000002: values are hashed and compared.
        return tuple(float(f"{self.low + i * self.step:.12g}") for i in range(count))

    def __str__(self) -> str:
        step = f", step {self.step:g}" if self.step is not None else ""
        return f"a number from {self.low:g} to {self.high:g}{step}"


@dataclass(frozen=True)
class Choice:
    """One of the given values, in no particular order of size.

    Raises
    ------
    ValueError
        If there is no option, or one is given twice.
    """

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a choice needs at least one option")
        # 1 and 1.0 are the same option, 1 and true are not.
        if len({(isinstance(o, bool), o) for o in self.options}) < len(self.options):
            raise ValueError(f"an option is given twice in {list(self.options)}")

    def __contains__(self, value: object) -> bool:
        return any(
            value == o and isinstance(value, bool) == isinstance(o, bool) for o in self.options
        )

    def values(self) -> tuple[Value, ...]:
        """Every option, as given."""
        return self.options

    def __str__(self) -> str:
        # As a study file writes them.
        return "one of " + ", ".join(json.dumps(o, ensure_ascii=False) for o in self.options)


@dataclass(frozen=True)
class Text:
    """Any text that is not empty: a limit, not a range to search."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and value.strip() != ""

    def values(self) -> tuple[str, ...]:
        """Nothing to list.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError("texts cannot be listed; give a list of options")

    def __str__(self) -> str:
        return "a text"


Range = Int | Float | Choice | Text
"""A range of one hyperparameter."""


def _refuse_many(num_values: float) -> None:
    if num_values > MAX_VALUES:
        raise ValueError(
            f"it has {num_values:,.0f} values, and at most {MAX_VALUES:,} are searched: give a "
            "larger step, or a range of numbers with a point and without a step"
        )


def parse_range(given: Any) -> Range:
    """Read a range: a list of options, or a table of low, high, step and log.

    Raises
    ------
    ValueError
        Says what is wrong with it.
    """
    if isinstance(given, list):
        for option in given:
            if not isinstance(option, int | float | str | bool):
                raise ValueError(f"{option!r} is no option: expected a number, text or true, false")
        _refuse_many(len(given))
        return Choice(tuple(given))
    if not isinstance(given, dict):
        raise ValueError(f"{given!r} is no range: expected a list of options, or a table of bounds")
    unknown = set(given) - {"low", "high", "step", "log"}
    if unknown:
        raise ValueError(name_what_exists("key", min(unknown), ["low", "high", "step", "log"]))
    if not {"low", "high"} <= set(given):
        raise ValueError("a range needs 'low' and 'high'; or give a list of options")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log = {log!r}: expected true or false")
    numbers = {key: value for key, value in given.items() if key != "log"}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{key} = {value!r}: expected a number")
    if all(isinstance(value, int) for value in numbers.values()):
        whole = Int(given["low"], given["high"], given.get("step", 1), log)
        _refuse_many((whole.high - whole.low) // whole.step + 1)
        return whole
    real = Float(float(given["low"]), float(given["high"]), given.get("step"), log)
    if real.step is not None:
        _refuse_many((real.high - real.low) / real.step + 1)
    return real


def ends_of(r: Range) -> tuple[Value, ...]:
    """The values of a range among which the largest, or smallest, network is looked for."""
    if isinstance(r, Float | Int):
        return r.low, r.high
    values = tuple(r.values())
    texts = isinstance(r, Choice) and any(isinstance(v, str) for v in values)
    if texts or len(values) < 3:
        return values
    return min(values), max(values)


@dataclass(frozen=True)
class SearchSpace:
    """Named ranges; a point of the space takes one value from each.

    >>> space = SearchSpace({"units": Choice((32, 64)), "rate": Float(0.1, 0.5, step=0.2)})
    >>> space.size
    6
    >>> {"units": 64, "rate": 0.3} in space
    True
    >>> next(space.points())
    {'units': 32, 'rate': 0.1}
    """

    ranges: Mapping[str, Range]

    def __contains__(self, params: object) -> bool:
        """Whether every name of this space has a value within its range in ``params``."""
        if not isinstance(params, Mapping):
            return False
        return all(name in params and params[name] in r for name, r in self.ranges.items())

    @property
    def size(self) -> int | None:
        """Number of points; ``None`` where a continuous range makes them uncountable."""
        count = 1
        for r in self.ranges.values():
            if isinstance(r, Float) and r.step is None:
                return None
            count *= len(r.values())
        return count

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point, the last name varying fastest.

        Raises
        ------
        ValueError
            If a range is continuous.
        """
        names = list(self.ranges)
        for values in product(*(r.values() for r in self.ranges.values())):
            yield dict(zip(names, values, strict=True))
