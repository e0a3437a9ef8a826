"""The formats that a finished model is exported to, one file each."""

from burnish.bundle.formats.format import BundleFormat, ExportFormat, NetworkFormat, Probabilities
from burnish.bundle.formats.formats import EXPORT_FORMATS

__all__ = ["EXPORT_FORMATS", "BundleFormat", "ExportFormat", "NetworkFormat", "Probabilities"]
