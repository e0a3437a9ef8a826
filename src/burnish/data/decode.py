"""Images decoded into one file of pixels, on all cores.

The file is a `.npy` array (num, height, width, channels). Worker processes write their
parts of it themselves, so that no pixels pass between processes; what comes back are a few
numbers an image.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from burnish.child_processes import (
    NEEDS_GUARD,
    NamedSpawn,
    count_cores,
    program_left_out,
    working_folder_left_out,
)
from burnish.data.decode_piece import Collected, Piece, Task, decode_piece
from burnish.data.decoded import Decoded, OnDecoded
from burnish.data.formats.listing import Encoded, ImageReader
from burnish.errors import DataError, ImageError
from burnish.image import MAX_PIXELS, InputSpec
from burnish.interrupts import interrupts_held

# Processes are started where the rest would take this process longer than this.
_WORTH_SECONDS = 1.0
_ALONE_SECONDS = 0.15
# What one task of a worker is to take; small enough for a bar that moves.
_TASK_SECONDS = 0.2
_TASK_BYTES = 2**22
_MAX_TASK = 1024
# Memory that decoding may take for each pixel of a very large image: PNG of 16 bits took 26.
_LARGE_BYTES = 32


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
    task = Task(images, spec, path, offset, look_for_color, max_pixels)
    collected = Collected(num_images, on_progress)
    num_workers = count_cores() if num_workers is None else num_workers
    if max_pixels > MAX_PIXELS:
        num_workers = max(1, min(num_workers, _count_memory() // (_LARGE_BYTES * max_pixels)))
    first, pace = _decode_alone(task, num_images, collected, hurry=num_workers > 1)
    if first < num_images:
        _decode_together(task, first, num_images, pace, num_workers, collected)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return collected.finish()


def _decode_alone(
    task: Task, num_images: int, collected: Collected, *, hurry: bool
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
        piece = decode_piece(task, done, stop, None)
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
    task: Task, first: int, num_images: int, pace: float, num_workers: int, collected: Collected
) -> None:
    """Decode the rest in worker processes."""
    count = _size_task(task, pace)
    # A format that the program itself defines is known to those alone who import the program.
    is_ours = type(task.images).__module__ not in ("__main__", "__mp_main__")

    def submit_all() -> Iterator[Future[Piece]]:
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
        running: set[Future[Piece]] = set()
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


_task_here: Task | None = None


def _begin_work(task: Task) -> None:
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


def _work(first: int, stop: int, encoded: list[Encoded | ImageError] | None) -> Piece:
    assert _task_here is not None
    return decode_piece(_task_here, first, stop, encoded)


def _read_here(task: Task, first: int, stop: int) -> list[Encoded | ImageError]:
    """Read images for another process to decode."""
    read: list[Encoded | ImageError] = []
    for index in range(first, stop):
        try:
            read.append(task.images.read(index))
        except ImageError as error:
            read.append(error)
    return read


def _size_task(task: Task, pace: float) -> int:
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


def _count_memory() -> int:
    """Half of the machine's memory, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 2**32
