from __future__ import annotations

from pathlib import Path

import pytest

from burnish.runfolder.store import RunFolder
from burnish.runner.worker_pool import WorkerPool
from burnish.stages.placement import LocalPlacement

from ..study.test_init import make_dataset


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_workers_are_kept_from_one_search_to_the_next(folder: RunFolder) -> None:
    data = make_dataset([2, 2], side=8)
    with WorkerPool(LocalPlacement(workers=1), folder) as pool:
        executor = pool.start(data)
        assert pool.start(data) is executor
        pool.close()
        assert pool.start(data) is not executor


def test_nothing_of_the_workers_stays_behind(folder: RunFolder) -> None:
    scratch = folder.path / ".scratch"
    with WorkerPool(LocalPlacement(workers=1), folder) as pool:
        pool.start(make_dataset([2, 2], side=8))
        (scratch / "probe").mkdir(parents=True)
        folder.placed.write_text("{}", encoding="utf-8")
    assert not scratch.exists()
    assert not folder.placed.exists()
