"""Export format ``folder``: the bundle's own files, copied."""

from __future__ import annotations

import shutil
from pathlib import Path

from burnish.bundle.contract import CONTRACT, read_contract
from burnish.bundle.formats.format import BundleFormat
from burnish.errors import ExportError
from burnish.files import flush_all, make_folder, move_folder


def _copy(folder: Path, target: Path) -> None:
    staging = target.with_name(f".{target.name}.copying")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        make_folder(staging)
        for name in (*read_contract(folder)["sha256"], CONTRACT):
            shutil.copyfile(folder / name, staging / name)
        flush_all(staging)
        move_folder(staging, target)
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


FOLDER = BundleFormat(name="folder", ending="-model", is_folder=True, write=_copy)
