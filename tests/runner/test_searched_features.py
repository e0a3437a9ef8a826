"""A search over what features depend on, and over heads: each file of features is computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

from ..study import read_result
from ..support.photographs import cut_photographs

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "searched"
seed = 3

[data]
path = "photographs.npz"
split = { train = 16, val = 6, test = 6 }

[training]
batch_size = 4
max_epochs = 2

[[stage]]
name = "head"
kind = "tune"
model = "pretrained"
sampler = "grid"
folds = 2
params = { learning_rate = 0.003 }
[stage.space]
input_size = [32, 64]
hidden_units = [0, 8]

[[stage]]
name = "final"
kind = "final"
"""


class Counter(Observer):
    """Counts the files of features that this process begins."""

    def __init__(self) -> None:
        self.begun = 0

    def features_computed(self, num_done: int, num_views: int) -> None:
        self.begun += num_done == 0


def test_a_search_of_sizes_and_heads_with_folds_computes_each_size_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "photographs.npz", x=cut_photographs(28, 32), y=np.arange(28) % 2)
    study, text = parse_study(STUDY, "the test's study", folder=tmp_path)
    observer, run = Counter(), RunFolder(tmp_path / "run")
    run_study(study, text, run, observer=observer, workers=1)
    head = read_result(run, "head")
    assert [trial["state"] for trial in head["trials"]] == ["complete"] * 4
    tried = {(t["params"]["input_size"], t["params"]["hidden_units"]) for t in head["trials"]}
    assert tried == {(32, 0), (32, 8), (64, 0), (64, 8)}
    assert observer.begun == 2, "folds, trials and the winner share the features of a size"
    assert len(list((tmp_path / "cache/burnish/features").glob("*.npy"))) == 2
