"""Images decoded into one file of pixels, on all cores.

The file is a `.npy` array (num, height, width, channels). Worker processes write their
parts of it themselves, so that no pixels pass between processes; what comes back are a few
numbers an image.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from burnish.child_processes import (
    NEEDS_GUARD,
    NamedSpawn,
    program_left_out,
    working_folder_left_out,
)
from burnish.data.formats.listing import Encoded, FileImages, ImageReader
from burnish.data.traces import TRACES, trace
from burnish.errors import DataError, ImageError
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
from burnish.interrupts import interrupts_held

OnDecoded: TypeAlias = Callable[[int, int], None]
"""Called with the images done so far, and how many there are."""

_DIGEST_BYTES = 32
# Processes are started where the rest would take this process longer than this.
_WORTH_SECONDS = 1.0
_ALONE_SECONDS = 0.15
# What one task of a worker is to take; small enough for a bar that moves.
_TASK_SECONDS = 0.2
_TASK_BYTES = 2**22
_MAX_TASK = 1024
_BUFFER_BYTES = 2**18
# Memory that decoding may take for each pixel of a very large image: PNG of 16 bits took 26.
_LARGE_BYTES = 32


NO_MEMORY = "needs more memory than there is"
"""What is said of an image where the machine, not the image, is at fault."""

BY_IMAGE = (
    "heights",
    "widths",
    "modes",
    "digests",
    "levels",
    "have_more_pages",
    "traces",
)
"""Arrays of `Decoded` that have a row for each image."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What is known of each image once it was decoded.

    Attributes
    ----------
    heights, widths
        int32 (num,), of the file, before scaling; 0 for bad images.
    modes
        Pillow's mode of each file (num,), empty for bad images.
    digests
        uint8 (num, 32), SHA-256 of the pixels as they lie in the file of pixels; of images of
        more than 8 bits, of their own values.
    levels
        float64 (num, 5), what `burnish.image.wide.measure` says of images of more than 8 bits; NaN
        for others.
    have_more_pages
        bool (num,), files with further pages, which are not read.
    traces
        float64 (num, 4), what each gives away: `burnish.data.traces.TRACES`; 0 for bad images.
    bad
        Number of each image that cannot be used, and why.
    colored
        Numbers of images that were seen to have colour; of many, some. They are looked for only
        where it was asked.
    """

    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    modes: NDArray[np.str_]
    digests: NDArray[np.uint8]
    levels: NDArray[np.float64]
    have_more_pages: NDArray[np.bool_]
    traces: NDArray[np.float64]
    bad: Mapping[int, str]
    colored: NDArray[np.int64]

    @property
    def has_color(self) -> bool:
        """Whether one of them has colour; looked for only where it was asked."""
        return len(self.colored) > 0

    @property
    def is_wide(self) -> NDArray[np.bool_]:
        """Which images have more than 8 bits, (num,)."""
        return ~np.isnan(self.levels[:, 0])

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """Which images can be used, (num,)."""
        good = np.ones(len(self.heights), dtype=np.bool_)
        good[list(self.bad)] = False
        return good


def decode_images(
    images: ImageReader,
    num_images: int,
    spec: InputSpec,
    path: Path,
    *,
    look_for_color: bool = False,
    max_pixels: int = MAX_PIXELS,
    num_workers: int | None = None,
    on_progress: OnDecoded | None = None,
) -> Decoded:
    """Decode images into a `.npy` file; rows of bad ones are left zero.

    Parameters
    ----------
    images, num_images
        What reads them, and how many there are.
    spec
        What they are brought to.
    path
        Of the file, which is written over.
    look_for_color
        Whether to find out if one of them has colour.
    max_pixels
        Larger images are bad.
    num_workers
        Processes; by default one a core, and none where it does not pay. Fewer where images
        of ``max_pixels`` could fill the memory.
    on_progress
        Told now and then how many are done.

    Raises
    ------
    OSError
        If the file cannot be written.
    DataError
        If a worker process died.
    """
    offset = reserve_pixels(path, (num_images, *spec.shape))
    task = _Task(images, spec, path, offset, look_for_color, max_pixels)
    collected = _Collected(num_images, on_progress)
    num_workers = _count_cores() if num_workers is None else num_workers
    if max_pixels > MAX_PIXELS:
        num_workers = max(1, min(num_workers, _count_memory() // (_LARGE_BYTES * max_pixels)))
    first, pace = _decode_alone(task, num_images, collected, hurry=num_workers > 1)
    if first < num_images:
        _decode_together(task, first, num_images, pace, num_workers, collected)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return collected.finish()


@dataclass(frozen=True, eq=False)
class _Task:
    """What every process that decodes has to know."""

    images: ImageReader
    spec: InputSpec
    path: Path
    offset: int
    look_for_color: bool
    max_pixels: int


@dataclass
class _Piece:
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


class _Collected:
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

    def add(self, piece: _Piece) -> None:
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


def _decode_alone(
    task: _Task, num_images: int, collected: _Collected, *, hurry: bool
) -> tuple[int, float]:
    """Decode in this process; stop early where others would help.

    Returns
    -------
    The number of images that are done, and the seconds that each took.
    """
    started = time.perf_counter()
    done, count, pace = 0, 4, 0.0
    while done < num_images:
        stop = min(done + count, num_images)
        piece = _decode_piece(task, done, stop, None)
        collected.add(piece)
        done = stop
        seconds = time.perf_counter() - started
        pace = seconds / done
        count = _size_task(task, pace)
        helps = seconds > _ALONE_SECONDS and pace * (num_images - done) > _WORTH_SECONDS
        # Arrays would have to be sent to another process, which costs more than it saves.
        if hurry and helps and not piece.has_arrays:
            break
    return done, pace


def _decode_together(
    task: _Task, first: int, num_images: int, pace: float, num_workers: int, collected: _Collected
) -> None:
    """Decode the rest in worker processes."""
    count = _size_task(task, pace)
    # A format that the program itself defines is known to those alone who import the program.
    is_ours = type(task.images).__module__ not in ("__main__", "__mp_main__")

    def submit_all() -> Iterator[Future[_Piece]]:
        for start in range(first, num_images, count):
            stop = min(start + count, num_images)
            encoded = _read_here(task, start, stop) if task.images.is_serial else None
            starting = program_left_out() if is_ours else working_folder_left_out()
            with interrupts_held(), starting:  # The first tasks start a process each.
                future = pool.submit(_work, start, stop, encoded)
            yield future

    with working_folder_left_out():  # Its locks start multiprocessing's resource tracker.
        pool = ProcessPoolExecutor(
            num_workers, NamedSpawn(), initializer=_begin_work, initargs=(task,)
        )
    try:
        futures = submit_all()
        running: set[Future[_Piece]] = set()
        is_over = False
        while running or not is_over:
            # A few tasks ahead: what is read here for them lies in memory.
            while not is_over and len(running) < 2 * num_workers:
                future = next(futures, None)
                is_over = future is None
                if future is not None:
                    running.add(future)
            if running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    collected.add(future.result())
    except BrokenProcessPool as error:
        raise DataError(
            "a process that decodes images died, perhaps for lack of memory"
            if is_ours
            else f"a process that decodes images died. Perhaps {NEEDS_GUARD}"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_task_here: _Task | None = None


def _begin_work(task: _Task) -> None:
    """Make a worker process ready."""
    global _task_here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, name="end", daemon=True).start()
    _task_here = task


def _end_with_driver() -> None:
    """End with the process that decodes, however that ends: nobody is there to be told more."""
    driver = parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _work(first: int, stop: int, encoded: list[Encoded | ImageError] | None) -> _Piece:
    assert _task_here is not None
    return _decode_piece(_task_here, first, stop, encoded)


def _read_here(task: _Task, first: int, stop: int) -> list[Encoded | ImageError]:
    """Read images for another process to decode."""
    read: list[Encoded | ImageError] = []
    for index in range(first, stop):
        try:
            read.append(task.images.read(index))
        except ImageError as error:
            read.append(error)
    return read


def _decode_piece(
    task: _Task, first: int, stop: int, encoded: list[Encoded | ImageError] | None
) -> _Piece:
    """Decode consecutive images and write their pixels."""
    piece = _Piece(first)
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


def _read_one(task: _Task, index: int) -> Encoded | Path:
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


def _decode_one(read: Encoded | Path, task: _Task, piece: _Piece, index: int) -> _One:
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


def _size_task(task: _Task, pace: float) -> int:
    """How many images to decode at once, from the seconds that one takes."""
    height, width, channels = task.spec.shape
    by_memory = _TASK_BYTES // (height * width * channels)
    by_time = round(_TASK_SECONDS / max(pace, 1e-6))
    return max(1, min(by_memory, by_time, _MAX_TASK))


def reserve_pixels(path: Path, shape: tuple[int, int, int, int]) -> int:
    """Write the head of a `.npy` file and reserve its space; give where pixels begin."""
    with path.open("wb") as file:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, head)
        offset = file.tell()
        num_bytes = int(np.prod(shape, dtype=np.int64))
        file.truncate(offset + num_bytes)
        if hasattr(os, "posix_fallocate"):
            # A full disk is found out about now, and not after an hour of decoding.
            os.posix_fallocate(file.fileno(), 0, offset + num_bytes)
    return offset


def _count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_memory() -> int:
    """Half of the machine's memory, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 2**32
