"""TIFF files of any number of bits, and very large ones: what Pillow alone reads badly."""

from burnish.image.tiff.layout import Layout, can_be_cut, read_layout, refuse_unreadable
from burnish.image.tiff.read import MAX_VALUE_BYTES, read_bands, read_wide

__all__ = [
    "MAX_VALUE_BYTES",
    "Layout",
    "can_be_cut",
    "read_bands",
    "read_layout",
    "read_wide",
    "refuse_unreadable",
]
