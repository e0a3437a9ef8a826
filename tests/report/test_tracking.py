"""MLflow on a local file store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.errors import RunFolderError
from burnish.report.tracking import log_to_mlflow
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_history

from .fake_run import STAGES, make_run

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _allow_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow would rather have a database, and wants to be told that files will do.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def test_a_run_its_stages_and_curves_are_in_the_store(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    run = make_run(tmp_path / "mine")
    uri = (tmp_path / "store").as_uri()
    top = log_to_mlflow(run, uri)
    client: Any = MlflowClient(tracking_uri=uri)
    logged = client.get_run(top)
    assert logged.info.run_name == "mine"
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["test_accuracy"] == 0.9946
    assert logged.data.params["learning_rate"] == "0.001"
    assert logged.data.tags["chosen"] == "augmented"
    experiment = client.get_experiment_by_name("mnist-published").experiment_id
    stages = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{top}'")
    assert {stage.info.run_name for stage in stages} == {stage[0] for stage in STAGES}
    (fnn,) = [stage for stage in stages if stage.info.run_name == "fnn"]
    curve = client.get_metric_history(fnn.info.run_id, "epoch/val_loss")
    history = read_history(run.stage(1, "fnn") / "history.csv")
    assert [(m.step, m.value) for m in curve] == [(r["epoch"], r["val_loss"]) for r in history]
    assert [a.path for a in client.list_artifacts(top)] == ["study.toml"]


def test_a_store_that_is_none_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mine", stages=STAGES[:1])
    with pytest.raises(RunFolderError, match="nonsense://x does not take the run"):
        log_to_mlflow(run, "nonsense://x")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        log_to_mlflow(RunFolder(tmp_path), "nonsense://x")
