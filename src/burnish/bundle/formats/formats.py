"""The export formats that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from burnish.bundle.formats.folder import FOLDER
from burnish.bundle.formats.format import BundleFormat, NetworkFormat
from burnish.bundle.formats.keras import KERAS
from burnish.bundle.formats.litert import LITERT
from burnish.bundle.formats.onnx import ONNX
from burnish.bundle.formats.savedmodel import SAVED_MODEL
from burnish.bundle.formats.zip import ZIP
from burnish.errors import ExportError
from burnish.registry import Registry

EXPORT_FORMATS: Registry[NetworkFormat | BundleFormat] = Registry(
    "format", ExportError, (KERAS, ONNX, LITERT, SAVED_MODEL, ZIP, FOLDER)
)


def list_int8() -> list[str]:
    """Return the names of the formats that can be written in int8."""
    return [f.name for f in EXPORT_FORMATS if isinstance(f, NetworkFormat) and f.quantize]


def refuse_unable(export_format: NetworkFormat | BundleFormat, *, quantize: bool) -> None:
    """Refuse a format that cannot be written here, or not in int8.

    Raises
    ------
    ExportError
        If a package that it needs is not installed, or it has no int8 and that is asked.
    """
    export_format.refuse_missing()
    able = list_int8()
    if quantize and export_format.name not in able:
        raise ExportError(
            f"int8 is for {', '.join(able)}, not for {export_format.name}: leave --quantize out"
        )
