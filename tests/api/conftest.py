from __future__ import annotations

from pathlib import Path

import pytest

import burnish

from .studies import TINY


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> burnish.Run:
    """A run of the tiny study, by ``burnish.run`` in this process."""
    study = burnish.Study.from_dict(TINY)
    out = tmp_path_factory.mktemp("api") / "tiny"
    return burnish.run(study, out=out, workers=1, verbose=False, report=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"
