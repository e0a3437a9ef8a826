"""``burnish.plan``: what a study would do on this machine, and what that would take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from burnish.api.cluster import ExecutorName, Placing, find_data_dir
from burnish.api.reading import ReadingKeywords
from burnish.api.shown import Plan
from burnish.api.source import MINUTES_FOR_IMAGES, Source, Values, are_images, find_study


def plan(
    source: Source,
    *,
    minutes: float | None = None,
    values: Values = None,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: ExecutorName = "local",
    address: str | None = None,
    **reading: Unpack[ReadingKeywords],
) -> Plan:
    """Return what a study would do here, how long it would take, and the disk space it needs.

    Parameters
    ----------
    source, minutes, values, data_dir, workers, executor, address, reading
        As for `run`. Nothing is written.

    Returns
    -------
    Plan
        A dict with ``study``, ``seconds``, ``disk_bytes`` and ``stages``, which shows itself as
        ``burnish plan`` prints it.

    Raises
    ------
    BurnishError
        If the study or the images cannot be used.
    """
    placing = Placing(executor, address)
    if are_images(source) and minutes is None:
        minutes = MINUTES_FOR_IMAGES
    found = find_study(source, values=values, **reading)
    data_folder = find_data_dir(None if data_dir is None else Path(data_dir))
    study, text = found.check()
    from burnish.planning.plan import plan_study

    with placing.open(study, workers) as placement:
        return Plan(
            plan_study(study, text, data_folder, workers, minutes=minutes, placement=placement)
        )
