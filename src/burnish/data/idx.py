"""Read IDX files, the format in which MNIST is given.

An IDX file is two zero bytes, one byte for the element type, one for the number of
dimensions, each dimension as a big-endian uint32, then the elements in C order.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from burnish.data.split import Split
from burnish.errors import DataError, DataNotFoundError

GZIP_MAGIC = b"\x1f\x8b"
# Four times the largest set in this format that is in use (EMNIST, 0.5 GB).
MAX_BYTES = 2**31
_MAX_DIMENSIONS = 8

_UNSIGNED_BYTE = 0x08
_OTHER_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    The content says whether it is gzipped, not the name. No more is decompressed than the
    header announces, and one byte.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    uint8 array of the shape that the header announces

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataError
        If it cannot be read, is no IDX file of unsigned bytes, or is cut off or damaged.

    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == GZIP_MAGIC
            file.seek(0)
            if not is_gzip:
                return _read_open(path, file)
            with gzip.GzipFile(fileobj=file) as content:
                return _read_open(path, content)
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: damaged gzip archive ({error}); delete it and fetch it again"
        ) from error
    except EOFError as error:
        raise DataError(
            f"{path}: the gzip archive is cut off; delete it and fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_labelled(images_path: Path, labels_path: Path, num_classes: int) -> Split:
    """Read images (num, height, width) and their labels (num,) from two IDX files.

    Parameters
    ----------
    images_path : Path
        File of three dimensions.
    labels_path : Path
        File of one dimension.
    num_classes : int
        Labels must lie in 0 to ``num_classes - 1``.

    Returns
    -------
    Split
        With one channel.

    Raises
    ------
    DataError
        As for `read_idx`; or if a file has another number of dimensions, the counts
        differ, there is no image, or a label is out of range.

    """
    images = read_idx(images_path)
    labels = read_idx(labels_path)
    if images.ndim != 3:
        raise DataError(
            f"{images_path}: has shape {images.shape}; expected 3 dimensions "
            "(images, height, width). Is it the labels file?"
        )
    if labels.ndim != 1:
        raise DataError(
            f"{labels_path}: has shape {labels.shape}; expected 1 dimension, a label for "
            "each image. Is it the images file?"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images and {labels_path} has {len(labels)} labels; "
            "expected as many of one as of the other. Do the files belong together?"
        )
    if images.size == 0:
        raise DataError(f"{images_path}: has shape {images.shape}, which holds no pixels")
    if labels.max() >= num_classes:
        place = int(np.argmax(labels >= num_classes))
        raise DataError(
            f"{labels_path}: label {labels[place]} of image {place} is out of range; "
            f"expected 0 to {num_classes - 1}"
        )
    return Split(images[..., np.newaxis], labels.astype(np.int32))


def _read_open(path: Path, content: BinaryIO | gzip.GzipFile) -> NDArray[np.uint8]:
    shape = _read_header(path, content)
    num_bytes = math.prod(shape)
    # A zero among its sizes makes it empty, and lets NumPy have no array of the others.
    if num_bytes > MAX_BYTES or math.prod(max(1, size) for size in shape) > MAX_BYTES:
        raise DataError(
            f"{path}: its header announces {num_bytes} bytes {shape}; "
            f"at most {MAX_BYTES} are read. Is it an IDX file?"
        )
    values = bytearray()
    # In pieces, so that a header which lies cannot make a small file take much memory.
    while len(values) <= num_bytes:
        piece = content.read(min(2**20, num_bytes + 1 - len(values)))
        if not piece:
            break
        values += piece
    if len(values) != num_bytes:
        found = f"more than {num_bytes}" if len(values) > num_bytes else str(len(values))
        trouble = "surplus bytes" if len(values) > num_bytes else "cut off"
        what = "labels" if len(shape) == 1 else "pixels"
        raise DataError(
            f"{path}: {trouble}: has {found} bytes of {what}, its header announces {num_bytes} "
            f"{shape}; fetch it again"
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _read_header(path: Path, content: BinaryIO | gzip.GzipFile) -> tuple[int, ...]:
    magic = content.read(4)
    if len(magic) < 4:
        raise DataError(f"{path}: has {len(magic)} bytes, too short for the 4 that open an IDX")
    element_type, num_dimensions = magic[2], magic[3]
    if magic[:2] != b"\0\0" or not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: starts with the bytes {magic.hex(' ')}; expected 00 00 08 and then 01 to "
            f"{_MAX_DIMENSIONS:02x}, the number of dimensions. It is not an IDX file"
        )
    if element_type != _UNSIGNED_BYTE:
        name = _OTHER_TYPES.get(element_type, "an unknown type")
        raise DataError(
            f"{path}: holds {name} (type byte {element_type:02x}); expected unsigned bytes (08)"
        )
    dimensions = content.read(4 * num_dimensions)
    if len(dimensions) < 4 * num_dimensions:
        raise DataError(
            f"{path}: has {4 + len(dimensions)} bytes, too short for its header of "
            f"{4 + 4 * num_dimensions}"
        )
    return tuple(int(size) for size in np.frombuffer(dimensions, dtype=">u4"))
