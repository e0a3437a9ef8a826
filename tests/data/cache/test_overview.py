from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import burnish
from burnish.data.cache.overview import look_after_cache
from burnish.data.load import load_images
from burnish.errors import DataError

from ..made import make, write_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with a data set, a download and weights of Keras."""
    if os.name == "nt":
        pytest.skip("the XDG variables do not count on Windows")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for path in ("cache/burnish/mnist/a.gz", "keras/models/b.h5"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"1234")
    load_images(write_folder(tmp_path / "photos", make()))
    return tmp_path


def test_what_is_there_and_what_goes(home: Path) -> None:
    found = look_after_cache()
    (entry,) = found["entries"]
    assert entry["paths"] == [str(home / "photos")]
    assert entry["bytes"] == found["bytes"] > 24 * 81
    assert entry["last_used"][:4] == time.strftime("%Y", time.gmtime())
    others = [
        {"path": str(home / "cache" / "burnish" / "mnist"), "what": "download", "bytes": 4},
        {"path": str(home / "keras" / "models"), "what": "weights of Keras", "bytes": 4},
    ]
    assert found["others"] == others
    assert look_after_cache(remove=True)["removed"] == []
    done = look_after_cache(remove=True, everything=True)
    assert [one["name"] for one in done["removed"]] == [entry["name"]]
    assert (done["entries"], done["bytes"], done["others"]) == ([], 0, others)


def test_down_to_a_size(home: Path) -> None:
    assert look_after_cache(size="1MB")["removed"] == []
    assert len(look_after_cache(size="0 mb")["removed"]) == 1
    with pytest.raises(DataError, match="--size = 'all': expected MB or GB"):
        look_after_cache(size="all")


def test_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    found = look_after_cache(remove=True, everything=True, size="1GB")
    assert (found["entries"], found["removed"], found["others"]) == ([], [], [])
    assert not (tmp_path / "none").exists()


def burnish_cache(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "burnish", "cache", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(burnish.__file__).parents[1]),
            "COLUMNS": "200",
        },
    )


def test_the_command(home: Path) -> None:
    done = burnish_cache()
    assert (done.returncode, done.stderr) == (0, "")
    assert str(home / "photos") in done.stdout
    assert "9x9 grey" in done.stdout
    assert "keras/models: weights of Keras, 0.0 MB; not removed by this command" in done.stdout
    done = burnish_cache("--clean", "--all", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["removed"]) == 1
    done = burnish_cache("--all")
    assert done.returncode == 2
    assert "--all goes with --clean" in done.stderr
