"""Consecutive images decoded, their pixels written in their place; and the pieces put together.

Any process may decode a piece: what comes back of it are a few numbers an image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.decoded import Decoded, OnDecoded
from burnish.data.formats.listing import Encoded, FileImages, ImageReader
from burnish.data.traces import TRACES, trace
from burnish.errors import ImageError
from burnish.image import (
    MAX_PIXELS,
    InputSpec,
    Picture,
    convert,
    decode_with_header,
    from_values,
    is_grey,
)
from burnish.image.wide import NUM_LEVELS, WideImage, hash_parts, measure

NO_MEMORY = "needs more memory than there is"
"""What is said of an image where the machine, not the image, is at fault."""

_DIGEST_BYTES = 32
_BUFFER_BYTES = 2**18


@dataclass(frozen=True, eq=False)
class Task:
    """What every process that decodes has to know."""

    images: ImageReader
    spec: InputSpec
    path: Path
    offset: int
    look_for_color: bool
    max_pixels: int


@dataclass
class Piece:
    """What is known of consecutive images, from `first` on."""

    first: int
    sizes: list[tuple[int, int]] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    levels: dict[int, tuple[float, ...]] = field(default_factory=dict)
    have_more_pages: list[int] = field(default_factory=list)
    traces: list[tuple[float, ...]] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    colored: list[int] = field(default_factory=list)
    has_arrays: bool = False


class Collected:
    """Puts the pieces together."""

    def __init__(self, num_images: int, on_progress: OnDecoded | None) -> None:
        self._num_images, self._num_done = num_images, 0
        self._sizes = np.zeros((num_images, 2), np.int32)
        self._modes = np.zeros(num_images, "<U8")
        self._digests = np.zeros((num_images, _DIGEST_BYTES), np.uint8)
        self._levels = np.full((num_images, NUM_LEVELS), np.nan)
        self._have_more_pages = np.zeros(num_images, np.bool_)
        self._traces = np.zeros((num_images, len(TRACES)))
        self._bad: dict[int, str] = {}
        self._colored: list[int] = []
        self._on_progress = on_progress

    def add(self, piece: Piece) -> None:
        """Take in what is known of a piece, and tell how many images are done."""
        place = slice(piece.first, piece.first + len(piece.sizes))
        self._sizes[place] = piece.sizes
        self._modes[place] = piece.modes
        self._traces[place] = piece.traces
        digests = np.frombuffer(b"".join(piece.digests), np.uint8)
        self._digests[place] = digests.reshape(-1, _DIGEST_BYTES)
        for index, levels in piece.levels.items():
            self._levels[index] = levels
        self._have_more_pages[piece.have_more_pages] = True
        self._bad |= piece.bad
        self._colored += piece.colored
        self._num_done += len(piece.sizes)
        if self._on_progress is not None:
            self._on_progress(self._num_done, self._num_images)

    def finish(self) -> Decoded:
        """Return what is known of all images."""
        heights, widths = np.ascontiguousarray(self._sizes.T)
        bad = dict(sorted(self._bad.items()))
        return Decoded(
            heights,
            widths,
            self._modes,
            self._digests,
            self._levels,
            self._have_more_pages,
            self._traces,
            bad,
            np.array(sorted(self._colored), np.int64),
        )


def decode_piece(
    task: Task, first: int, stop: int, encoded: list[Encoded | ImageError] | None
) -> Piece:
    """Decode consecutive images and write their pixels."""
    piece = Piece(first)
    nothing = np.zeros(task.spec.shape, np.uint8)
    with task.path.open("rb+", buffering=_BUFFER_BYTES) as file:
        file.seek(task.offset + first * nothing.nbytes)
        for place, index in enumerate(range(first, stop)):
            try:
                read = _read_one(task, index) if encoded is None else encoded[place]
                if isinstance(read, ImageError):
                    raise read
                one = _decode_one(read, task, piece, index)
            except (ImageError, MemoryError) as error:
                piece.bad[index] = str(error) or NO_MEMORY
                one = _One((0, 0), "", nothing, None, (0.0,) * len(TRACES))
            content = np.ascontiguousarray(one.pixels).reshape(-1).data
            file.write(content)
            piece.sizes.append(one.size)
            piece.modes.append(one.mode)
            piece.traces.append(one.traces)
            piece.digests.append(one.digest or hashlib.sha256(content).digest())
    return piece


def _read_one(task: Task, index: int) -> Encoded | Path:
    if isinstance(task.images, FileImages) and task.max_pixels > MAX_PIXELS:
        return task.images.find(index)  # It may be larger than files that are read whole.
    return task.images.read(index)


@dataclass(frozen=True, eq=False)
class _One:
    """What is known of one image.

    Size and mode in its file, its pixels as they are wanted, its own digest if it has more than 8
    bits, and what it gives away.
    """

    size: tuple[int, int]
    mode: str
    pixels: NDArray[np.uint8]
    digest: bytes | None
    traces: tuple[float, ...]


def _decode_one(read: Encoded | Path, task: Task, piece: Piece, index: int) -> _One:
    image: Picture
    if isinstance(read, bytes | Path):
        image, header = decode_with_header(read, max_pixels=task.max_pixels)
        size, mode = (header.height, header.width), header.mode
        if header.has_more_pages:
            piece.have_more_pages.append(index)
    else:
        piece.has_arrays = True
        image = from_values(read)
        size, mode = (image.height, image.width), image.mode
    digest = None
    if isinstance(image, WideImage):
        piece.levels[index] = measure(image)
        # Different values may become the same pixels: these are not identical.
        hashed = hashlib.sha256()
        for part in hash_parts(image):
            hashed.update(part)
        digest = hashed.digest()
    if task.look_for_color and not piece.colored and not is_grey(image):
        piece.colored.append(index)
    return _One(size, mode, convert(image, task.spec), digest, trace(read, image))
