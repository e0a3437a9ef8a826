"""What computing features costs, measured on a few images with the network itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from burnish.features.feature_set import FeatureSet
from burnish.features.features import IMAGES_AT_ONCE, make_rows
from burnish.features.network import FrozenNetwork
from burnish.features.store import writing_to
from burnish.files import make_folder

LONGEST = 1.5
"""Seconds after which no further views are timed."""

MOST_TIMES = 5
"""How often some views are timed; the median counts."""


@dataclass(frozen=True)
class FeatureCost:
    """Seconds that a file of features takes.

    Attributes
    ----------
    start_seconds
        Once a file, to load the network.
    view_seconds
        For each view of an image: read, changed and run.
    """

    start_seconds: float
    view_seconds: float

    def estimate_seconds(self, num_rows: int) -> float:
        """Forecast a file of so many rows."""
        return self.start_seconds + self.view_seconds * num_rows


def measure_feature_cost(wanted: FeatureSet) -> FeatureCost:
    """Run the network on a few images, for a second or two, as it would run on all.

    The network is written into the cache, where the run will find it.

    Raises
    ------
    DataError
        If the cache cannot be written.
    """
    folder = wanted.path.parent
    with writing_to(folder):
        make_folder(folder)
    FrozenNetwork(wanted.part, folder)
    started = time.perf_counter()
    network = FrozenNetwork(wanted.part, folder)
    start_seconds = time.perf_counter() - started
    dataset = wanted.dataset
    few = dataset.train.take(np.arange(min(IMAGES_AT_ONCE, len(dataset.train))))
    sample = replace(dataset, train=few, val=few, blocks=None)
    compute = make_rows(replace(wanted, dataset=sample), network)
    num_rows = min(IMAGES_AT_ONCE, len(few) * wanted.views)
    compute(0, num_rows)
    begun = time.perf_counter()
    taken: list[float] = []
    while len(taken) < MOST_TIMES and time.perf_counter() - begun < LONGEST:
        before = time.perf_counter()
        compute(0, num_rows)
        taken.append(time.perf_counter() - before)
    return FeatureCost(start_seconds, median(taken) / num_rows)
