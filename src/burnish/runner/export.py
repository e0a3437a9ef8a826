"""Exporting what a run handed over: finds the model, and the images that judge the export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.bundle.archive import unpack
from burnish.bundle.contract import find_bundle, find_keras_model, read_contract
from burnish.bundle.formats import EXPORT_FORMATS, BundleFormat
from burnish.bundle.formats.formats import refuse_unable
from burnish.errors import ExportError

if TYPE_CHECKING:
    from burnish.data import Dataset


@dataclass(frozen=True)
class Exported:
    """What was written, and what certifies it.

    Attributes
    ----------
    path
        The file or folder.
    certificate
        Certificate of a network that was run in its own runtime; else ``None``.
    is_bundle
        Whether it is the whole bundle, whose contract certifies its files.
    """

    path: Path
    certificate: Mapping[str, Any] | None
    is_bundle: bool

    def describe(self) -> str:
        """Return a sentence about what was written and how it is certified."""
        if self.certificate is not None:
            return f"{self.path}: {describe_certificate(self.certificate)}"
        if self.is_bundle:
            return str(self.path)
        return f"{self.path}: not certified, as nothing here runs this format"


def export_finished(
    path: Path,
    format_name: str,
    out: Path | None = None,
    *,
    quantize: bool = False,
    study: Path | None = None,
    data_dir: Path | None = None,
    data: Path | None = None,
) -> Exported:
    """Export a finished model: its network in some format, or the whole bundle.

    Parameters
    ----------
    path
        A run folder, a bundle, or a zip file of one.
    format_name
        One of `EXPORT_FORMATS`.
    out
        What to write; by default the study's name with the format's ending, in this folder.
    quantize
        Whether to export in int8; see :func:`burnish.bundle.export.export_model`.
    study
        Run folder or study file that names the model's training and validation images. Needed
        if the format is certified and ``path`` is outside a run folder.
    data_dir
        Folder with one folder per data source.
    data
        Where the user's images are now, if they have moved.

    Raises
    ------
    BundleError
        If there is no finished model, or it cannot be exported.
    DataError
        If the images are not available, or are not those of this model.
    """
    found = EXPORT_FORMATS.find(format_name)
    refuse_unable(found, quantize=quantize)
    with _opened(path) as folder:
        contract = read_contract(folder)
        middle = "-int8" if quantize else ""
        target = out or Path(f"{contract['study']}{middle}{found.ending}")
        if isinstance(found, BundleFormat):
            if target.exists():
                raise ExportError(f"{target} is there already: remove it, or give another --out")
            found.write(folder, target)
            return Exported(target, None, is_bundle=True)
        from burnish.bundle.export import export_model, export_uncertified

        model_file = find_keras_model(folder, contract)
        if found.predict is None:
            export_uncertified(model_file, target, found, contract["output"]["class_names"])
            return Exported(target, None, is_bundle=False)
        judges = _load_data(path, contract, study, data_dir, data)
        certificate = export_model(model_file, target, found, judges, quantize=quantize)
        return Exported(target, certificate, is_bundle=False)


def describe_certificate(certificate: Mapping[str, Any]) -> str:
    """Return in a few words what a certificate certifies."""
    num = f"{certificate['num_images']:,} validation images"
    if certificate["precision"] == "float32":
        return (
            f"agrees with Keras on {num}; largest difference of a probability "
            f"{certificate['max_probability_difference']:.1g}"
        )
    accuracy, size = certificate["accuracy"], certificate["bytes"]
    speed = certificate["microseconds_per_image"]
    return (
        f"against float32 on {num}, accuracy {accuracy['change']:+.2%} (to "
        f"{accuracy['int8']:.2%}), {size['int8'] / size['float32']:.0%} of the size, "
        f"{speed['int8'] / speed['float32']:.0%} of the time"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """Return the bundle's folder; a zip file is unpacked while it is needed."""
    if not path.is_file():
        yield find_bundle(path)
        return
    with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
        unpack(path, Path(scratch) / "model")
        yield Path(scratch) / "model"


def _load_data(
    path: Path,
    contract: dict[str, Any],
    given: Path | None,
    data_dir: Path | None,
    data: Path | None,
) -> Dataset:
    """Split the images of the model's study again, as its run did."""
    from burnish.runner.reload import reload_data
    from burnish.study.parse import load_study

    study, _ = load_study(_find_study(path, given))
    asked = contract["data"]["fingerprint"]
    found, _ = reload_data(study, asked, data_dir=data_dir, data=data)
    return found


def _find_study(path: Path, given: Path | None) -> str:
    """Return the file of the model's study, or the name of one that ships."""
    if given is not None and not given.is_dir():
        return str(given)
    for folder in [given] if given is not None else [path, path.parent]:
        file = folder / "study.toml"
        if file.is_file():
            return str(file)
    missing = (
        f"{given} is no run folder: it has no study.toml"
        if given is not None
        else f"{path} lies in no run folder, and a bundle holds no images"
    )
    raise ExportError(
        f"{missing}. Give --study with the run folder or the study file: an export is compared "
        "with Keras on the study's validation images"
    )
