"""Format `npz`: NumPy's archive of arrays, as Keras gives its data sets.

    x_train, y_train, x_test, y_test     and perhaps x_val, y_val
    x, y                                 not split yet
    train_images, train_labels, ...      as MedMNIST has them
    img, fine_label                      or what `image_column` and `label_column` call them

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
from burnish.data.formats.classes import MAX_CLASSES
from burnish.data.formats.columns import IMAGE, LABEL, ColumnRole, fold_name
from burnish.data.formats.format import Format
from burnish.data.formats.listing import SPLIT_NAMES, Listing, Stamp, list_some
from burnish.data.formats.options import ListingOptions
from burnish.errors import DataError, DataNotFoundError, shorten

MAX_UNPACKED = 2**33
"""Most bytes that a compressed array may unpack to: a small file could fill the memory."""

MAX_RATIO = 200
"""Most bytes that a packed one may unpack to, above `HARMLESS`; images give two to fifty."""

HARMLESS = 2**26
"""What unpacks to no more is unpacked at any ratio."""

# RuntimeError: it is encrypted; ValueError: a name is no text.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)
_LOCAL_HEADER = struct.Struct("<26xHH")


def detect_npz(path: Path) -> bool:
    """By its name."""
    return path.suffix.casefold() == ".npz" and not path.is_dir()


def read_npz(path: Path, options: ListingOptions) -> Listing:
    """List the images of an archive.

    Raises
    ------
    DataError
        If it is no archive of arrays, has pickled content, or not the arrays expected.
    """
    options.refuse_but("npz", "group", "image_column", "label_column", "class_case")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(entry.filename).stem: entry for entry in archive.infolist()}
            return _read_members(path, archive, members, options)
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    except _DAMAGED as error:
        raise DataError(f"{path}: is no .npz archive, or damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_members(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    options: ListingOptions,
) -> Listing:
    pairs, group = _find_pairs(path, members, options), options.group
    stamp = Stamp(path)
    stamp.add_content(path)
    blocks, labels, splits, groups = {}, [], [], []
    used = {"class_names"}
    for split, (x, y) in pairs.items():
        used |= {x, y}
        stamp.add_choice(x)
        blocks[x] = check_images(str(path), x, _read_array(path, archive, members[x]))
        labels.append(_read_array(path, archive, members[y]))
        splits += [split] * len(blocks[x])
        if group is not None:
            name = group if split == "" else f"{group}_{split}"
            used.add(name)
            groups += _read_group(path, archive, members, name, len(blocks[x]))
    class_names = None
    if "class_names" in members:
        given = _read_array(path, archive, members["class_names"])
        if given.size > MAX_CLASSES:
            raise DataError(
                f"{path}: class_names has {given.size:,} names; at most {MAX_CLASSES:,} are taken"
            )
        class_names = [str(name) for name in given.ravel()]
    return list_blocks(
        "npz",
        path.stem,
        blocks,
        labels,
        class_names,
        stamp.finish(),
        splits=None if "" in pairs else splits,
        groups=None if group is None else groups,
        class_case=options.class_case,
        suspicious=tuple(
            f"{name}: is an array that is not read" for name in sorted(set(members) - used)
        ),
    )


def _list(members: dict[str, zipfile.ZipInfo]) -> str:
    return list_some(sorted(members), separator=", ") or "none"


_PATTERNS = ("{name}_{split}", "{split}_{name}")
_IMAGE_NAMES = ("x", "images", "image", "img")
_LABEL_NAMES = ("y", *LABEL.names)


def _find_pairs(
    path: Path, members: dict[str, zipfile.ZipInfo], options: ListingOptions
) -> dict[str, tuple[str, str]]:
    """Return the names of images and labels by split, which is '' where there is none."""
    for pattern in _PATTERNS:
        pairs = {}
        for split in SPLIT_NAMES:
            x = _find_array(path, members, options, IMAGE, pattern, split)
            y = _find_array(path, members, options, LABEL, pattern, split)
            if (x is None) != (y is None):
                there = x or y
                role = LABEL if y is None else IMAGE
                missing = pattern.format(name=_list_names(options, role)[0], split=split)
                raise DataError(f"{path}: has {there} but not {missing}; expected both")
            if x is not None and y is not None:
                pairs[split] = (x, y)
        if pairs:
            return pairs
    x = _find_array(path, members, options, IMAGE, "{name}", "")
    y = _find_array(path, members, options, LABEL, "{name}", "")
    if x is not None and y is not None:
        return {"": (x, y)}
    raise DataError(
        f"{path}: has the arrays {_list(members)}; expected x_train, y_train, x_test and y_test, "
        "or x and y; or say which: image_column (--image-column), label_column (--label-column)"
    )


def _list_names(options: ListingOptions, role: ColumnRole) -> tuple[str, ...]:
    asked = options.image_column if role is IMAGE else options.label_column
    if asked is not None:
        return (asked,)
    return _IMAGE_NAMES if role is IMAGE else _LABEL_NAMES


def _find_array(
    path: Path,
    members: dict[str, zipfile.ZipInfo],
    options: ListingOptions,
    role: ColumnRole,
    pattern: str,
    split: str,
) -> str | None:
    """Return the array of images or labels of a split, if there is one."""
    names = {pattern.format(name=name, split=split) for name in _list_names(options, role)}
    found = sorted(member for member in members if member in names or fold_name(member) in names)
    if len(found) > 1:
        raise DataError(
            f"{path}: the arrays {' and '.join(found)} could each hold {role.holds}; say which: "
            f"{role.option} ({role.flag}). There are: {_list(members)}"
        )
    return found[0] if found else None


def _read_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read an array, or map it where it was not compressed."""
    name = Path(member.filename).stem
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Others than NumPy's own: some take gigabytes of memory because a header says so.
        raise DataError(f"{path}: {name} is packed in a way that NumPy does not; save it again")
    with archive.open(member) as file:
        try:
            version = npy.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = npy.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = npy.read_array_header_2_0(file)
        except Exception as error:  # Of a damaged head NumPy raises many things.
            raise DataError(f"{path}: {name} is no array ({shorten(str(error))})") from error
        if dtype.hasobject:
            raise DataError(
                f"{path}: {name} holds Python objects, which are pickled; a pickle can run any "
                "code, and is not read. Save an array of numbers, or of text as dtype str"
            )
        if dtype.itemsize == 0 or dtype.names is not None or any(n < 0 for n in shape):
            # No bytes an element: a file of nothing could announce any number of them.
            raise DataError(
                f"{path}: {name} has dtype {shorten(str(dtype))} and shape {shorten(str(shape))}; "
                "save an array of numbers, or of text as dtype str"
            )
        start = file.tell()
        num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if start + num_bytes != member.file_size:
            raise DataError(
                f"{path}: {name} has {member.file_size - start} bytes, its header announces "
                f"{num_bytes} {shape}; save it again"
            )
        if num_bytes == 0:
            # Not by its shape: a zero among its sizes would let the others be anything.
            raise DataError(f"{path}: {name} has shape {shape}, which holds nothing")
        if member.compress_type != zipfile.ZIP_STORED:
            if num_bytes > max(HARMLESS, MAX_RATIO * member.compress_size):
                raise DataError(
                    f"{path}: {name} unpacks from {member.compress_size:,} to {num_bytes:,} bytes, "
                    "as no images do. If they are, save it with numpy.savez"
                )
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
            f"{path}: there is no array {name} to group by; there are: {_list(members)}"
        )
    values = _read_array(path, archive, members[name])
    if values.shape != (num_images,):
        raise DataError(f"{path}: {name} has shape {values.shape}; expected ({num_images},)")
    return [str(value) for value in values.tolist()]


NPZ = Format("npz", "an archive .npz", detect_npz, read_npz, (".npz",))
