"""The layouts that people have their labelled images in, one file each.

    listing = read_listing(Path("photos"))          # what is there, nothing decoded yet

A new format is one new file and one line in `burnish.data.formats.formats`; its test calls
`burnish.data.conformance.check_format`.
"""

from burnish.data.formats.arrays import list_arrays
from burnish.data.formats.format import Format
from burnish.data.formats.formats import FORMATS
from burnish.data.formats.listing import ArrayImages, Encoded, FileImages, ImageReader, Listing
from burnish.data.formats.options import ListingOptions
from burnish.data.formats.read import find_format, read_listing

__all__ = [
    "FORMATS",
    "ArrayImages",
    "Encoded",
    "FileImages",
    "Format",
    "ImageReader",
    "Listing",
    "ListingOptions",
    "find_format",
    "list_arrays",
    "read_listing",
]
