"""A bundle as a single zip file, and back, with nothing in it trusted.

    pack(Path("runs/mnist/model"), Path("mnist.zip"))
    unpack(Path("mnist.zip"), Path("model"))

A zip file may come from anybody: only plain file names are taken, sizes are counted while
they are read (headers lie), and what comes out is checked against its contract.
"""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from pathlib import Path

from burnish.bundle.contract import (
    CONTRACT,
    MAX_CONTRACT_BYTES,
    MAX_FILE_BYTES,
    is_safe_name,
    read_contract,
)
from burnish.errors import ArchiveError, BundleError, RunFolderError
from burnish.files import flush_all, make_folder, move_folder, write_whole
from burnish.unzip import UnzipRules, extract

MAX_MEMBERS = 32
"""Most files in an archive; a bundle has five."""

MAX_TOTAL_BYTES = 2 * MAX_FILE_BYTES
"""Most that an archive may unpack to."""

MAX_RATIO = 200
"""Most that it may unpack to for each byte of its own, above `HARMLESS`; weights give two."""

HARMLESS = 2**24
"""What unpacks to no more is unpacked at any ratio."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, target: Path) -> None:
    """Write a bundle as one zip file; the same bundle gives the same bytes.

    Raises
    ------
    BundleError
        If the folder is no bundle, or has changed since it was written.
    RunFolderError
        If the file cannot be written.
    """
    contract = read_contract(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # The contract first: a reader may look at it without the rest.
        for name in (CONTRACT, *sorted(contract["sha256"])):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    write_whole(target, buffer.getvalue())


def unpack(source: Path, folder: Path) -> None:
    """Make a bundle's folder out of a zip file, and check it.

    Parameters
    ----------
    source
        The zip file.
    folder
        Must not be there yet; it is there whole afterwards, or not at all.

    Raises
    ------
    BundleError
        If the file is no zip file, a member has an unsafe name, is a link, encrypted,
        there twice, packed in an unusual way or too large, or the bundle in it is not whole.
    """
    if folder.exists():
        raise BundleError(f"{folder} is there already: choose a folder that is not")
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        make_folder(staging)
        extract(source, staging, _rules())
        try:
            read_contract(staging)
        except BundleError as error:
            raise BundleError(str(error).replace(str(staging), str(source))) from error
        flush_all(staging)
        move_folder(staging, folder)
    except ArchiveError as error:
        raise BundleError(str(error)) from error
    except OSError as error:
        raise RunFolderError(
            f"{source} cannot be unpacked into {folder}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _rules() -> UnzipRules:
    return UnzipRules(
        what="a bundle",
        max_members=MAX_MEMBERS,
        max_bytes=MAX_TOTAL_BYTES,
        max_member_bytes=lambda name: MAX_CONTRACT_BYTES if name == CONTRACT else MAX_FILE_BYTES,
        place_member=_Places().find,
        max_ratio=MAX_RATIO,
        harmless=HARMLESS,
    )


class _Places:
    """Gives members their names as files; two that differ in case alone are one on some systems."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def find(self, name: str) -> str:
        """Return the name back, if it is one."""
        if not is_safe_name(name):
            raise ArchiveError("a bundle has plain files right at its top, and no folders")
        if name.lower() in self._seen:
            raise ArchiveError(f"there are two members {name}")
        self._seen.add(name.lower())
        return name
