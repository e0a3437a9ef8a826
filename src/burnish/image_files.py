"""Which files of a folder are images: one rule for training, `burnish check` and use.

    contents = list_folder(Path("photos"), "cats")
    contents.images            # ("photos/cats" has) 001.jpg, 002.HEIC, ...

Hidden files and the operating system's own are ignored. Links are judged alike wherever
images are read: none leads out of the folder that was given, and none to another folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from burnish.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif")
)
"""Names of what is always read."""

FOREIGN_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".avifs", ".jxl"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".dcm", ".dicom"),
    )
)
"""Names of images that are not read, or need another library: whoever meets one says so."""

MAX_FOLDERS = 200_000
"""Most folders that are looked through below one that was given."""

MAX_DEPTH = 64
"""Most folders within each other that are gone into."""

OUTPUT_MARK = ".burnish-output"
"""Name of a file in a folder of pictures that burnish has drawn: they are no images to read."""

_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
# Beside its lock a run has one of these: its owner's name while it goes on, or what it began with.
_RUN_FILES = (".owner.json", "provenance.json")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_AT_DICOM = 128
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"\0\0\x01\0": "an icon (ICO)",
    b"DDS ": "a texture (DDS)",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "HDF5",
    b"PK\x03\x04": "a zip file",
    b"\x1f\x8b": "a gzip file",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself ('git lfs pull')",
}
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))


@dataclass(frozen=True)
class FolderContents:
    """What lies right in a folder, by name, each sorted.

    Attributes
    ----------
    folders
        To go into.
    images
        Files that are called as images are.
    others
        Files that are not.
    refused
        Links that are not followed, and why.
    odd
        What is neither folder, file nor link: pipes, devices.
    outputs
        Folders that burnish has written: runs and contact sheets. They are not gone into.
    status
        Of each file.
    """

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    odd: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    status: dict[str, os.stat_result] = field(default_factory=dict)


def list_folder(root: Path, folder: str = "") -> FolderContents:
    """List what lies right in a folder.

    Parameters
    ----------
    root
        Where links must not lead out of.
    folder
        Path of the folder, relative to it.

    Raises
    ------
    DataError
        If the folder cannot be read.
    """
    place = root / folder
    folders: list[str] = []
    images: list[str] = []
    others: list[str] = []
    odd: list[str] = []
    outputs: list[str] = []
    refused: dict[str, str] = {}
    status: dict[str, os.stat_result] = {}
    try:
        with os.scandir(place) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        for entry in entries:
            if is_ignored(entry.name):
                continue
            why = judge_link(root, entry.path) if entry.is_symlink() else None
            if why is not None:
                refused[entry.name] = why
            elif entry.is_dir():
                (outputs if is_output(entry.path) else folders).append(entry.name)
            elif entry.is_file():
                status[entry.name] = entry.stat()
                (images if is_image_name(entry.name) else others).append(entry.name)
            else:
                odd.append(entry.name)
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror or error})") from error
    return FolderContents(
        tuple(folders), tuple(images), tuple(others), refused, tuple(odd), tuple(outputs), status
    )


def walk_folders(root: Path) -> Iterator[tuple[str, FolderContents]]:
    """Return each folder's path, the root's being empty, with what lies in it: outer ones first.

    Raises
    ------
    DataError
        If a folder cannot be read, or there are more than `MAX_FOLDERS`, or `MAX_DEPTH` within
        each other.
    """
    waiting, num_folders = [("", 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        num_folders += 1
        if num_folders > MAX_FOLDERS or depth > MAX_DEPTH:
            most = f"{MAX_DEPTH} within each other" if depth > MAX_DEPTH else f"{MAX_FOLDERS:,}"
            raise DataError(f"{root}: has more folders below it than are gone into ({most})")
        contents = list_folder(root, folder)
        yield folder, contents
        start = f"{folder}/" if folder else ""
        waiting += [(f"{start}{name}", depth + 1) for name in contents.folders]


def judge_link(root: Path, path: str) -> str | None:
    """Say why a link is not followed; None where it leads to a file within the root."""
    target = os.path.realpath(path)
    if not is_within(target, os.path.realpath(root)):
        return f"is a link that leaves {root}"
    if not os.path.exists(target):  # noqa: PTH110
        return "is a link to a file that is not there"
    if os.path.isdir(target):  # noqa: PTH112
        return "is a link to another folder; its images would be twice"
    return None


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or the operating system's own."""
    return name.startswith(".") or name.casefold() in _SYSTEM_FILES


def is_output(folder: str) -> bool:
    """Whether burnish has written a folder: a run, from its first moment, or contact sheets."""
    has = (os.path.exists(f"{folder}/{name}") for name in (OUTPUT_MARK, ".lock"))  # noqa: PTH110
    is_marked, is_locked = has
    return is_marked or (
        is_locked and any(os.path.exists(f"{folder}/{name}") for name in _RUN_FILES)  # noqa: PTH110
    )


def is_image_name(name: str) -> bool:
    """Whether a file is called as an image is, of a format that is read or one that may be."""
    suffix = os.path.splitext(name)[1].casefold()  # noqa: PTH122 (much faster)
    return suffix in IMAGE_SUFFIXES or suffix in FOREIGN_SUFFIXES


def is_within(real_path: str, real_root: str) -> bool:
    """Whether a resolved path lies in a resolved folder."""
    return real_path == real_root or real_path.startswith(os.path.join(real_root, ""))  # noqa: PTH118


def name_kind(content: bytes) -> str | None:
    """Say what a file is by its first bytes, whatever it is called; None where that is unknown.

    >>> name_kind(bytes(4) + b"ftypheic")
    'HEIC'
    """
    for beginning, kind in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content.startswith(_JPEG_XL):
        return "JPEG XL"
    if content.startswith(_JPEG_2000):
        return "JPEG 2000"
    if content[_AT_DICOM : _AT_DICOM + 4] == b"DICM":
        return "DICOM"
    if re.match(rb"P[1-7]\s", content):
        return "Netpbm (PPM, PGM, PBM)"
    if content[4:8] == b"ftyp":
        return _name_brand(content)
    text = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in content):
        return "SVG"
    if text.startswith(b"<?xml"):
        return "XML"
    return None


def explain_kind(kind: str | None) -> str:
    """Say what can be done with a file of a kind that is not read; empty where nothing is known.

    >>> explain_kind("JPEG XL")
    'save it as PNG or JPEG'
    """
    if kind in ("HEIC", "HEIF"):
        return "pip install pillow-heif to read such photos, or save it as JPEG"
    if kind == "AVIF":
        return "install a Pillow that has AVIF (11.3 or newer), or save it as JPEG"
    if kind == "DICOM":
        return "save its pixels as PNG or TIFF of 16 bits, which keeps all their values"
    if kind == "SVG":
        return "draw it as PNG, in the size that you need"
    if kind == "an array of NumPy":
        return "put the arrays of all images into one .npz with x and y"
    if kind in ("Netpbm (PPM, PGM, PBM)", "an icon (ICO)", "a texture (DDS)"):
        return "save it as PNG"
    if kind in ("JPEG XL", "JPEG 2000", "WebP", "GIF", "BMP", "TIFF", "a Photoshop file"):
        return "save it as PNG or JPEG"
    return ""


def _name_brand(content: bytes) -> str:
    """Name a file of the ISO base media format by its brands (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(content[:4], "big") or 32, 256)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, end, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIC_BRANDS:
            return "HEIC"
    return "HEIF" if brands[0] in (b"mif1", b"msf1") else "a video (MP4)"
