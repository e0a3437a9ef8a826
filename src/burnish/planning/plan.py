"""What ``burnish plan`` tells: what a study will do, and what that will take on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.data import prepare
from burnish.planning.disk import explain_lack_of_room, forecast_disk
from burnish.planning.features import NOTHING_NEW
from burnish.planning.forecast import StageForecast, forecast, probe_study, total_seconds
from burnish.planning.shares import has_shares, outline_shares
from burnish.planning.shrink import shrink_to
from burnish.stages.placement import LocalPlacement, Placement
from burnish.study.source import absence_explained, load_data
from burnish.study.study import Study


def plan_study(
    study: Study,
    text: str,
    data_dir: Path | None = None,
    workers: int | None = None,
    minutes: float | None = None,
    placement: Placement | None = None,
) -> dict[str, Any]:
    """Probe a study on this machine and return its plan; nothing is kept.

    Parameters
    ----------
    study, text
        The study and the TOML that it came from.
    data_dir
        Folder with one folder per data source.
    workers
        Processes that fit trials; ``None`` means one per core.
    minutes
        Shrink the study to these minutes first.
    placement
        Where trials would be fitted; ``None`` means in ``workers`` processes on this machine.

    Returns
    -------
    As :func:`describe_plan` returns it; on a cluster also ``cluster``, its resources.
    """
    placement = placement or LocalPlacement(workers)
    with absence_explained(study.data):
        raw = load_data(study.data, data_dir)
    data, sealed = prepare(raw, study.data.split.sizes(), study.seed)
    if minutes is not None and has_shares(study):
        # Nothing is measured: what fits is found out as it runs.
        disk = forecast_disk(study, data, sealed.num_images, placement.workers)
        planned = describe_plan(study, outline_shares(study, minutes), disk.peak)
        planned["features"]["refused"] = explain_lack_of_room(study, data, {}, needed=0)
        return planned | placement.describe()
    with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
        costs = probe_study(study, data, Path(scratch), placement)
    at_once = placement.at_once
    if minutes is not None:
        study, _ = shrink_to(study, text, costs, data, at_once, minutes * 60)
    disk = forecast_disk(study, data, sealed.num_images, placement.workers)
    planned = describe_plan(study, forecast(study, costs, data, at_once), disk.peak)
    planned["features"]["refused"] = explain_lack_of_room(study, data, {}, needed=0)
    return planned | placement.describe()


def describe_plan(study: Study, stages: Sequence[StageForecast], disk_bytes: int) -> dict[str, Any]:
    """Return what ``burnish plan --json`` prints: ``seconds``, ``disk_bytes``, ``stages``.

    ``disk_bytes`` must be free; see :func:`burnish.planning.disk.forecast_disk`. ``features`` are
    those that are not in the cache yet, of all stages; ``seconds`` counts them, those of the
    stages do not. ``refused`` says why a run would not begin for want of room for them.
    """
    features = sum((stage.features for stage in stages), NOTHING_NEW)
    return {
        "study": study.name,
        "seconds": round(total_seconds(stages), 1),
        "disk_bytes": disk_bytes,
        "features": {
            "files": features.files,
            "views": features.views,
            "bytes": features.num_bytes,
            "seconds": round(features.seconds, 1),
            "refused": None,
        },
        "stages": [
            {
                "name": stage.name,
                "trials": stage.trials,
                "epochs": round(stage.epochs, 2),
                "seconds": round(stage.seconds, 1),
            }
            for stage in stages
        ],
    }
