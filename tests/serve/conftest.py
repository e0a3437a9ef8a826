from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from burnish.bundle.model import Model, load
from burnish.serve import Limits

from .bundles import serve_in_thread, write_bundle


@pytest.fixture(scope="session")
def bands_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bands"))


@pytest.fixture(scope="session")
def bands(bands_folder: Path) -> Model:
    return load(bands_folder, threads=1)


@pytest.fixture(scope="session")
def address(bands: Model) -> Iterator[str]:
    """A server of the model with ten bands."""
    with serve_in_thread(bands, Limits()) as url:
        yield url


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as one:
        yield one
