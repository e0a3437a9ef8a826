"""Format `npz`: NumPy's archive of arrays, as Keras gives its data sets.

    x_train, y_train, x_test, y_test     and perhaps x_val, y_val
    x, y                                 not split yet
    train_images, train_labels, ...      as MedMNIST has them

`class_names` (num_classes,) may say what the labels mean. A group is an array of that name
beside `y`, or one a split (`writer_train`, `writer_test`). Arrays that were not compressed
(``numpy.savez``) are mapped into memory, and may be larger than it.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from burnish.data.formats.arrays import check_images, list_blocks
from burnish.data.formats.listing import SPLIT_NAMES, Listing, Stamp
from burnish.errors import DataError, DataNotFoundError

MAX_UNPACKED = 2**33
"""Most bytes that a compressed array may unpack to: a small file could fill the memory."""

_LOCAL_HEADER = struct.Struct("<26xHH")


def detect_npz(path: Path) -> bool:
    """By its name."""
    return path.suffix.casefold() == ".npz" and not path.is_dir()


def read_npz(path: Path, group: str | None) -> Listing:
    """List the images of an archive.

    Raises
    ------
    DataError
        If it is no archive of arrays, has pickled content, or not the arrays expected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(entry.filename).stem: entry for entry in archive.infolist()}
            return _read_members(path, archive, members, group)
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    # RuntimeError: it is encrypted, or packed in an unknown way; ValueError: a name is no text.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: is no .npz archive, or damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_members(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], group: str | None
) -> Listing:
    pairs = _find_pairs(path, members)
    stamp = Stamp(path)
    stamp.add_content(path)
    blocks, labels, splits, groups = {}, [], [], []
    used = {"class_names"}
    for split, (x, y) in pairs.items():
        used |= {x, y}
        blocks[x] = check_images(str(path), x, _read_array(path, archive, members[x]))
        labels.append(_read_array(path, archive, members[y]))
        splits += [split] * len(blocks[x])
        if group is not None:
            name = group if split == "" else f"{group}_{split}"
            used.add(name)
            groups += _read_group(path, archive, members, name, len(blocks[x]))
    class_names = None
    if "class_names" in members:
        class_names = [str(n) for n in _read_array(path, archive, members["class_names"]).ravel()]
    return list_blocks(
        "npz",
        path.stem,
        blocks,
        labels,
        class_names,
        stamp.finish(),
        splits=None if "" in pairs else splits,
        groups=None if group is None else groups,
        suspicious=tuple(
            f"{name}: is an array that is not read" for name in sorted(set(members) - used)
        ),
    )


def _find_pairs(path: Path, members: dict[str, zipfile.ZipInfo]) -> dict[str, tuple[str, str]]:
    """Give the names of images and labels by split, which is '' where there is none."""
    for split_x, split_y in (("x_{}", "y_{}"), ("{}_images", "{}_labels")):
        pairs = {}
        for split in SPLIT_NAMES:
            x, y = split_x.format(split), split_y.format(split)
            if (x in members) != (y in members):
                there, missing = (x, y) if x in members else (y, x)
                raise DataError(f"{path}: has {there} but not {missing}; expected both")
            if x in members:
                pairs[split] = (x, y)
        if pairs:
            return pairs
    for x, y in (("x", "y"), ("images", "labels")):
        if x in members and y in members:
            return {"": (x, y)}
    raise DataError(
        f"{path}: has the arrays {', '.join(sorted(members)) or 'none'}; expected x_train, "
        "y_train, x_test and y_test, or x and y"
    )


def _read_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read an array, or map it where it was not compressed."""
    name = Path(member.filename).stem
    with archive.open(member) as file:
        try:
            version = npy.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = npy.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = npy.read_array_header_2_0(file)
        except ValueError as error:
            raise DataError(f"{path}: {name} is no array ({error})") from error
        if dtype.hasobject:
            raise DataError(
                f"{path}: {name} holds Python objects, which are pickled; a pickle can run any "
                "code, and is not read. Save an array of numbers, or of text as dtype str"
            )
        start = file.tell()
        num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if start + num_bytes != member.file_size:
            raise DataError(
                f"{path}: {name} has {member.file_size - start} bytes, its header announces "
                f"{num_bytes} {shape}; save it again"
            )
        if member.compress_type != zipfile.ZIP_STORED:
            if num_bytes > MAX_UNPACKED:
                raise DataError(
                    f"{path}: {name} unpacks to {num_bytes:,} bytes; at most {MAX_UNPACKED:,} are "
                    "unpacked. Save it with numpy.savez instead of savez_compressed"
                )
            flat = np.frombuffer(file.read(), dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
    with path.open("rb") as raw:
        raw.seek(member.header_offset)
        name_length, extra_length = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
    offset = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length + start
    if num_bytes == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _read_group(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    name: str,
    num_images: int,
) -> list[str]:
    if name not in members:
        raise DataError(
            f"{path}: there is no array {name} to group by; there are: {', '.join(sorted(members))}"
        )
    values = _read_array(path, archive, members[name])
    if values.shape != (num_images,):
        raise DataError(f"{path}: {name} has shape {values.shape}; expected ({num_images},)")
    return [str(value) for value in values.tolist()]
