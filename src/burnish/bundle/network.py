"""What an ONNX file may be before a runtime sees it: one file, whole in itself.

    refuse_outside_data(content)

A tensor of an ONNX file may lie in another file, at any path. A bundle from a stranger carries
hashes of its own, so that they say nothing of what such a path leads to. Only the few messages
of the format that can hold a tensor are walked through; the numbers in them are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from burnish.errors import BundleError

MAX_DEPTH = 64
"""Graphs within graphs; a branch or a loop is one, and networks of images have none."""

MAX_FIELDS = 4_000_000
"""Entries that are looked at: a file of small ones would take minutes."""

Kind: TypeAlias = str

# By message and number of the field: the message that it holds (onnx.proto).
_INNER: dict[Kind, dict[int, Kind]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_ORT_MARK = b"ORTM"


def refuse_outside_data(content: bytes) -> None:
    """Refuse a network that is no ONNX file, or has a part of it elsewhere.

    Raises
    ------
    BundleError
        Says which; the message does not name the bundle.
    """
    if content[4:8] == _ORT_MARK:
        raise BundleError("is in onnxruntime's own format; expected ONNX")
    try:
        _walk(content)
    except ValueError as error:
        raise BundleError(f"is no ONNX file, or damaged ({error})") from error


def _walk(content: bytes) -> None:
    left = MAX_FIELDS
    waiting: list[tuple[Kind, int, int, int]] = [("model", 0, len(content), 0)]
    while waiting:
        kind, start, stop, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError("graphs are nested too deeply")
        inner = _INNER[kind]
        for number, wire, first, last in _fields(content, start, stop):
            left -= 1
            if left < 0:
                raise ValueError(f"more than {MAX_FIELDS:,} entries")
            if kind == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION):
                # The location may be written out as the default, which is: here.
                if number == _EXTERNAL_DATA or first != 0:
                    raise BundleError(
                        "keeps weights in another file; expected all of it in one file. Save it "
                        "without external data"
                    )
            elif number in inner:
                if wire != 2:
                    raise ValueError(f"an entry {number} of a {kind} is no message")
                waiting.append((inner[number], first, last, depth + 1))


def _fields(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Return number, wire type and place of each entry of a message; of a number its value."""
    while start < stop:
        tag, start = _read_varint(content, start, stop)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise ValueError("an entry without a number")
        if wire == 0:
            value, start = _read_varint(content, start, stop)
            yield number, wire, value, value
            continue
        if wire == 2:
            size, start = _read_varint(content, start, stop)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"an entry of unknown kind {wire}")
        if size > stop - start:
            raise ValueError("an entry goes beyond the end")
        yield number, wire, start, start + size
        start += size


def _read_varint(content: bytes, start: int, stop: int) -> tuple[int, int]:
    value = 0
    for place in range(start, min(start + 10, stop)):
        byte = content[place]
        value |= (byte & 0x7F) << (7 * (place - start))
        if byte < 0x80:
            return value, place + 1
    raise ValueError("a number is cut off")
