"""Source `mnist`: 60,000 training and 10,000 test images of digits, 28x28 pixels.

Looked for in the user's data folder, then in the cache, then downloaded into the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from burnish.data.dataset import LabelledImages
from burnish.data.download import ConnectBudget, fetch, show_progress
from burnish.data.idx import read_labelled
from burnish.data.names import ImageNames, NumberedNames
from burnish.errors import DataError, DataNotFoundError
from burnish.files import find_cache_folder
from burnish.image import InputSpec

# SHA-256 of the decompressed bytes, by file name.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CLASS_NAMES = tuple("0123456789")

_HEIGHT, _WIDTH = 28, 28
_TITLES = {"train": "train", "t10k": "test"}


def load_mnist(
    data_dir: Path | None,
    *,
    cache_folder: Path | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> LabelledImages:
    """Return MNIST, with its own test split.

    Files that lie in a folder already are used as they are, whole set or not; files
    downloaded must have the published content.

    Parameters
    ----------
    data_dir : Path or None
        Its folder ``mnist`` holds the four files, each plain or as ``.gz``.
    cache_folder : Path, optional
        Where downloads are kept; by default ``mnist`` in the user's cache folder.
    mirrors : sequence of str
        Addresses of folders, each ending in a slash, that hold the four archives.

    Returns
    -------
    LabelledImages
        Images (num, 28, 28, 1), called ``mnist train 0``, ``mnist test 0`` and so on, by
        their places in the files.

    Raises
    ------
    DataNotFoundError
        If the files are nowhere; says where they were looked for, and what to do.
    DataError
        If a file that was found cannot be used.

    """
    given = None if data_dir is None else data_dir / "mnist"
    found = {} if given is None else _find_files(given)
    if len(found) == len(FILES):
        return _read_files(found)  # Then no cache is needed.
    cache_folder = find_cache_folder() / "mnist" if cache_folder is None else cache_folder
    folders = [cache_folder] if given is None else [given, cache_folder]
    tried = []
    for folder in folders:
        found = _find_files(folder)
        if len(found) == len(FILES):
            return _read_files(found)
        tried.append(f"  {folder}: {_say_what_is_missing(folder, found)}")
    try:
        _download_missing(cache_folder, mirrors)
    except DataError as error:
        tried.extend(f"  {line}" for line in str(error).splitlines())
        raise DataNotFoundError(_say_what_to_do(tried, folders[0])) from error
    return _read_files(_find_files(cache_folder))


def _find_files(folder: Path) -> dict[str, Path]:
    """Find each file, plain or packed, by its plain name."""
    found = {}
    for name in FILES:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                found[name] = path
                break
    return found


def _read_files(paths: dict[str, Path]) -> LabelledImages:
    splits = {}
    for prefix in ("train", "t10k"):
        images_path = paths[f"{prefix}-images-idx3-ubyte"]
        split = read_labelled(
            images_path, paths[f"{prefix}-labels-idx1-ubyte"], num_classes=len(CLASS_NAMES)
        )
        _, height, width, _ = split.images.shape
        if (height, width) != (_HEIGHT, _WIDTH):
            raise DataError(
                f"{images_path}: has images of {height}x{width} pixels; "
                f"MNIST's are {_HEIGHT}x{_WIDTH}. Is it another data set?"
            )
        title = f"mnist {_TITLES[prefix]}"
        splits[prefix] = replace(split, names=ImageNames(NumberedNames(title, len(split))))
    return LabelledImages(
        "mnist",
        splits["train"],
        splits["t10k"],
        CLASS_NAMES,
        InputSpec(_HEIGHT, _WIDTH, "grey", recipe="digit"),
    )


def _download_missing(folder: Path, mirrors: Sequence[str]) -> None:
    budget = ConnectBudget()
    found = _find_files(folder)
    for name, sha256 in FILES.items():
        if name in found:
            continue
        archive = f"{name}.gz"
        urls = [f"{mirror}{archive}" for mirror in mirrors]
        with show_progress(archive) as on_progress:
            fetch(urls, folder / archive, sha256, budget=budget, on_progress=on_progress)


def _say_what_is_missing(folder: Path, found: dict[str, Path]) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    missing = ", ".join(name for name in FILES if name not in found)
    return f"has {len(found)} of the {len(FILES)} files; missing: {missing}"


def _say_what_to_do(tried: list[str], folder: Path) -> str:
    names = "\n".join(f"  {name}.gz" for name in FILES)
    return "\n".join(
        [
            "MNIST is not on this machine and could not be downloaded. Tried:",
            *tried,
            f"Put these four files, packed or unpacked, into {folder}:",
            names,
            "or use the source 'digits', which needs no network.",
        ]
    )
