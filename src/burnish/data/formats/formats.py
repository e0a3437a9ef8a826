"""The data formats that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from burnish.data.formats.csv import CSV
from burnish.data.formats.folder import FOLDER
from burnish.data.formats.format import Format
from burnish.data.formats.idx import IDX
from burnish.data.formats.npz import NPZ
from burnish.data.formats.parquet import PARQUET
from burnish.errors import DataError
from burnish.registry import Registry

FORMATS: Registry[Format] = Registry("format", DataError, (FOLDER, CSV, NPZ, IDX, PARQUET))
"""Those that were registered later are asked first whether something is theirs."""
