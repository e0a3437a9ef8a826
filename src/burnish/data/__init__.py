"""Labelled images: the sources they come from, and the splits they are cut into.

    raw = load_source("digits", data_dir=None)
    dataset, test = prepare(raw, SplitSizes(train=0.6, val=0.2, test=0.2), seed=42)

A new source is one new file and one line in `burnish.data.sources`; its test calls
`burnish.data.conformance.check_source`.
"""

from burnish.data.dataset import Dataset, LabelledImages, SealedTest
from burnish.data.sources import SOURCES, Source, load_source
from burnish.data.split import Split
from burnish.data.splitting import SplitSizes, prepare

__all__ = [
    "SOURCES",
    "Dataset",
    "LabelledImages",
    "SealedTest",
    "Source",
    "Split",
    "SplitSizes",
    "load_source",
    "prepare",
]
