from __future__ import annotations

import sys

import pytest

from burnish.data import Dataset, SplitSizes, load_source, prepare


@pytest.fixture(scope="session", autouse=True)
def _deterministic_backend() -> None:
    """Set the backend up before its first operation, where a collected test imported it."""
    if "burnish.backend" in sys.modules:
        from burnish.backend import configure

        configure(deterministic=True)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1,078 training and 360 validation images of 8x8x1 in 10 classes."""
    dataset, _ = prepare(
        load_source("digits", None), SplitSizes(train=0.6, val=0.2, test=0.2), seed=0
    )
    return dataset
