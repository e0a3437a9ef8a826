"""Export format ``zip``: the bundle as one file."""

from __future__ import annotations

from burnish.bundle.archive import pack
from burnish.bundle.formats.format import BundleFormat

ZIP = BundleFormat(name="zip", ending=".zip", write=pack)
