"""A finished run, or what there is of one, in MLflow: what teams keep that use it.

One MLflow run for the study, one nested in it for each stage, and one in that for each trial.
It only reads the run folder, and may be done at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.errors import RunFolderError, SetupError
from burnish.files import read_json
from burnish.runfolder.store import RunFolder, StageRecord
from burnish.telemetry import switch_off

_MOST_AT_ONCE = 1000
"""Metrics that MLflow takes in one call."""

_CURVE = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate")


def log_to_mlflow(run: RunFolder, uri: str) -> str:
    """Log a run to an MLflow tracking server, database or folder.

    Parameters
    ----------
    run
        The run folder.
    uri
        Tracking URI, for example ``http://localhost:5000`` or ``sqlite:///mlflow.db``.

    Returns
    -------
    MLflow's identifier of the run.

    Raises
    ------
    RunFolderError
        If the folder is no run, or MLflow does not take it; the message says why.
    SetupError
        If MLflow cannot be loaded, as where the user has no home folder.
    """
    run.check()
    switch_off("mlflow")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except RuntimeError as error:
        raise SetupError(
            f"MLflow cannot be loaded: {error} Set HOME to the absolute path of a folder that can "
            "be written"
        ) from error

    try:
        return _Log(MlflowClient(tracking_uri=uri), run).write()
    except MlflowException as error:
        raise RunFolderError(f"MLflow at {uri} does not take the run: {error}") from error


class _Log:
    def __init__(self, client: Any, run: RunFolder) -> None:
        self._client = client
        self._run = run

    def write(self) -> str:
        run, client = self._run, self._client
        study = str(read_json(run.path / "state.json")["study"])
        found = client.get_experiment_by_name(study)
        self._experiment = found.experiment_id if found else client.create_experiment(study)
        provenance = read_json(run.path / "provenance.json")
        records = run.stages()
        final = next((record.result for record in records if record.kind == "final"), None)
        top: str = self._begin(
            run.path.resolve().name,
            None,
            {
                "burnish": provenance["burnish"],
                "data": provenance["data"]["source"],
                "data_fingerprint": provenance["data"]["fingerprint"],
                "command": provenance["command"],
            },
        )
        self._log_params(top, {"seed": provenance["study_seed"], **(final or {}).get("params", {})})
        if final is not None:
            test = final["test"]
            values = {"test_accuracy": test["accuracy"], "test_loss": test["loss"]}
            self._log_metrics(top, {**values, "val_loss": final["val_loss"]})
            client.set_tag(top, "chosen", final["chosen"])
        for record in records:
            if record.kind != "final":
                self._log_stage(top, record)
        for path in (run.study_file, run.report / "index.html"):
            if path.exists():
                client.log_artifact(top, str(path))
        client.set_terminated(top)
        return top

    def _log_stage(self, top: str, record: StageRecord) -> None:
        result = record.result
        stage = self._begin(record.name, top, {"kind": record.kind})
        self._log_params(stage, {"model": result["model"], **result["params"]})
        names = ("val_loss", "val_accuracy", "seconds", "val_loss_mean", "val_loss_std")
        self._log_metrics(stage, {name: result[name] for name in names if name in result})
        self._log_history(stage, record.history())
        for trial in result.get("trials") or ():
            child = self._begin(f"{record.name}/{trial['number']:04d}", stage, {"kind": "trial"})
            self._log_params(child, trial["params"])
            for step, rung in enumerate(trial["rungs"], start=1):
                if rung["loss"] is not None:
                    self._log_metrics(child, {"loss": rung["loss"], "epochs": rung["epochs"]}, step)
            failed = trial["state"] == "failed"
            self._client.set_terminated(child, "FAILED" if failed else "FINISHED")
        self._client.set_terminated(stage)

    def _begin(self, name: str, parent: str | None, tags: Mapping[str, Any]) -> str:
        nested = {"mlflow.parentRunId": parent} if parent else {}
        begun = self._client.create_run(
            self._experiment,
            run_name=name,
            tags={**nested, **{key: str(value) for key, value in tags.items()}},
        )
        return str(begun.info.run_id)

    def _log_params(self, run: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run, params=[Param(name, str(v)) for name, v in params.items()])

    def _log_metrics(self, run: str, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, float(value), 0, step) for name, value in values.items()]
        self._client.log_batch(run, metrics=metrics)

    def _log_history(self, run: str, history: Sequence[Mapping[str, float]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(f"epoch/{name}", row[name], round(1000 * row["epoch"]), math.ceil(row["epoch"]))
            for row in history
            for name in _CURVE
        ]
        for begin in range(0, len(metrics), _MOST_AT_ONCE):
            self._client.log_batch(run, metrics=metrics[begin : begin + _MOST_AT_ONCE])
