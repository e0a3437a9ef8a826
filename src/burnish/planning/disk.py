"""Disk that a study needs: forecast before anything is fitted, and looked for before the start.

The forecast adds two parts. Kept files: models, histories and predictions of every stage,
records of trials, the bundle and the report. Temporary files: the images once, for worker
processes; exports that are being written; and checkpoints. A checkpoint is four times the weights
(the weights, Adam's two moments, the best weights so far), and exists twice while it is written.

Nobody knows what a search will find, so the largest network of its space stands for all.
File sizes are measured and rounded up. A test compares the forecast with what a run takes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from burnish.data import Dataset
from burnish.data.cache.upkeep import find_existing, find_limit, measure
from burnish.errors import DataError, RunFolderError, StudyError
from burnish.features import FeatureSet
from burnish.features.room import advise, describe_features, refuse_beyond_limit
from burnish.files import read_json
from burnish.models import count_weights
from burnish.planning.features import Found, list_features
from burnish.runfolder.hard_images import MOST, MOST_DOUBTFUL
from burnish.runfolder.identical_images import MOST_SETS
from burnish.runfolder.store import RunFolder
from burnish.sizes import show_size
from burnish.space import Value, ends_of
from burnish.study.schema import FinalStage, FittingStage, TuneStage
from burnish.study.study import Study
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import Bracket

BLOCK = 4096
"""Bytes of disk that the smallest file takes."""

MODEL_FILE = 80_000
"""Bytes of a saved model besides its weights: layers, their names, the archive's entries."""

EPOCH = 600
"""Bytes of a row of a history, and of the same row as a TensorBoard event."""

TRIAL = 16_000
"""Bytes of a trial: its folder and record, its rows in ``trials.db``, the result and the report."""

ROUND = 6 * BLOCK
"""Bytes of one round of one trial: its record, history and events."""

PAGE, STAGE_FIGURES, SEARCH_FIGURES = 700_000, 400_000, 500_000
"""Bytes of the report: for any study, per stage that fits a model, and on top per search."""

DUPLICATE = 60
"""Bytes of a row of the table of identical images, besides the file's name."""

CHECKPOINT = 4
"""Copies of the weights in a checkpoint."""

WORKING = 1_000_000
"""Temporary bytes of any run: SQLite's journal, files under their temporary names."""


@dataclass(frozen=True)
class DiskForecast:
    """Bytes that a finished run keeps, and the most temporary bytes at any moment before."""

    kept: int
    passing: int

    @property
    def peak(self) -> int:
        """Bytes that must be free before a run begins."""
        return self.kept + self.passing


def forecast_disk(study: Study, data: Dataset, num_test: int, workers: int) -> DiskForecast:
    """Forecast the disk space of a run from its largest networks; nothing is trained.

    Parameters
    ----------
    study, data, num_test
        The study and its data; the sealed split has ``num_test`` images.
    workers
        Processes that will fit trials.
    """
    weights = find_largest(study, data.image_shape, data.num_classes)
    kept, passing = PAGE, 0
    name = data.val.names.mean_length + 4 if data.val.names is not None else 0
    row = round(4 * data.num_classes + 16 + name)
    # Each row also names at least one image that it is identical to.
    kept += 2 * data.facts.num_duplicates * round(name + DUPLICATE)
    searches = False
    for stage in study.stages:
        if isinstance(stage, FinalStage):
            continue
        num_bytes = 4 * weights[stage.name]
        settings = study.settings(stage)
        if isinstance(stage, TuneStage):
            searches = True
            settings = study.refit_settings(stage)
            kept += SEARCH_FIGURES + _keep_trials(study, stage)
            standing = _count_standing(study, stage, workers)
            passing = max(passing, CHECKPOINT * num_bytes * standing)
        fit = num_bytes + MODEL_FILE + round(EPOCH * settings.max_epochs) + row * len(data.val)
        # With several seeds every fit is kept, and the best of them a second time.
        kept += STAGE_FIGURES + (fit + 8 * BLOCK) * (stage.seeds + (stage.seeds > 1))
        passing = max(passing, 2 * CHECKPOINT * num_bytes)
    largest = 4 * max(weights.values(), default=0)
    # Keras and ONNX in the bundle; both a second time while they are written and certified.
    kept += 2 * (largest + MODEL_FILE) + row * num_test + _picture_bytes(data, num_test)
    passing = max(passing, 2 * (largest + MODEL_FILE))
    # A second copy for workers to share.
    images = sum(split.num_bytes for split in (data.train, data.val) if not split.stays_in_file)
    return DiskForecast(kept, passing + WORKING + (images if searches else 0))


def find_largest(
    study: Study, image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, int]:
    """Return the number of weights of each stage's largest network, if the stage fits one.

    Each hyperparameter in turn is set to the value with the largest network, and stays there.
    This finds the largest network unless two hyperparameters counteract each other.
    """
    sizes: dict[tuple[object, ...], int] = {}

    def measure(stage: FittingStage, params: Mapping[str, Value]) -> int:
        family = study.family(stage)
        key = (family.name, *(params[name] for name in family.defaults))
        if key not in sizes:
            try:
                sizes[key] = count_weights(family, params, image_shape, num_classes)
            except StudyError:  # A corner of the space that does not fit takes no disk.
                sizes[key] = 0
        return sizes[key]

    largest: dict[str, dict[str, Value]] = {}
    counts: dict[str, int] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage):
            continue
        params = study.initial_params(stage, largest)
        if isinstance(stage, TuneStage):
            for name, r in stage.search_space().ranges.items():
                ends = ends_of(r)
                params[name] = ends[-1]
                if study.is_structure(stage, name):
                    tried = {value: measure(stage, {**params, name: value}) for value in ends}
                    params[name] = max(ends, key=lambda value: tried[value])
        largest[stage.name], counts[stage.name] = params, measure(stage, params)
    return counts


def count_checkpoints(brackets: Sequence[Bracket], folds: int, workers: int) -> int:
    """Return the most checkpoints that exist at any moment while brackets run side by side.

    They belong to trials that may be promoted and to running fits; each exists twice while it
    is written. A trial that ended early waits for those before it: one more per worker.
    """
    standing = 0
    for bracket in brackets:
        # Trials with a checkpoint when a round begins: none in the first, all in the others.
        waiting = [0, *(rung.num_trials for rung in bracket.rungs[1:])]
        promoted = [*(rung.num_trials for rung in bracket.rungs[1:]), 0]
        standing += max(max(w, p) for w, p in zip(waiting, promoted, strict=True))
    return (standing + workers) * folds + 2 * workers


def refuse_little_disk(
    study: Study, data: Dataset, num_test: int, workers: int, folder: Path
) -> None:
    """Refuse to begin if the disk has less free space than the study needs.

    Files that an earlier attempt left in the folder reduce what is needed.

    Raises
    ------
    RunFolderError
        Says how much is free, how much is needed, and how to start anyway.
    DataError
        If the features that a stage needs have no room in the cache; says how many views would.
    """
    needed = forecast_disk(study, data, num_test, workers).peak - _measure_standing(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunFolderError(
            f"{folder} has {show_size(free)} of free disk, and this study needs "
            f"{show_size(needed)} there, if its largest networks win: free some, choose another "
            "disk with --out, or go on anyway with --skip-disk-check. A disk that fills up stops "
            "the run; what is recorded stands, and the same command goes on."
        )
    why = explain_lack_of_room(study, data, _find_results(study, folder), folder, needed)
    if why is not None:
        raise DataError(f"{why}; or go on anyway with --skip-disk-check")


def explain_lack_of_room(
    study: Study, data: Dataset, found: Found, folder: Path | None = None, needed: int = 0
) -> str | None:
    """Say why the features of a study have no room in the cache; ``None`` if they have.

    Parameters
    ----------
    study, data
        The study and its data.
    found
        Params of finished stages, by name.
    folder, needed
        The run folder, and the bytes that the run needs there: they may be on the same disk.
    """
    missing: dict[str, FeatureSet] = {}
    for name, files in list_features(study, data, found).items():
        lacking = {one.key: one for one in files if one.find() is None}
        if not lacking:
            continue
        missing |= lacking
        try:
            # The stage needs all of them at once; what is there already would go for the others.
            refuse_beyond_limit(files, find_limit(files[0].path.parent))
        except DataError as error:
            return f"stage '{name}': {error}"
    if not missing:
        return None
    files = list(missing.values())
    cache = find_existing(files[0].path.parent)
    is_same = folder is not None and cache.stat().st_dev == folder.stat().st_dev
    begun = sum(measure(one.path.with_suffix(".part")) for one in files)
    room = shutil.disk_usage(cache).free + begun - (max(0, needed) if is_same else 0)
    if sum(one.num_bytes for one in files) <= room:
        return None
    return (
        f"{describe_features(files)}, and {cache} has {show_size(max(0, room))} of free disk for "
        f"it: {advise(files, room)}; or free some ('burnish cache --clean'), or set XDG_CACHE_HOME "
        "to a folder on another disk"
    )


def _find_results(study: Study, folder: Path) -> dict[str, dict[str, Value]]:
    """Return the params that stages recorded in a run folder, as far as they can be read."""
    found: dict[str, dict[str, Value]] = {}
    for number, stage in enumerate(study.stages, start=1):
        path = RunFolder(folder).stage(number, stage.name) / "result.json"
        with suppress(RunFolderError, KeyError, TypeError):
            if not isinstance(stage, FinalStage) and path.exists():
                found[stage.name] = dict(read_json(path)["params"])
    return found


def _keep_trials(study: Study, stage: TuneStage) -> int:
    """Return the bytes of the records of a search's trials."""
    folds = stage.folds or 1
    kept = 0
    for bracket in study.brackets(stage):
        kept += bracket.rungs[0].num_trials * TRIAL
        for rung in bracket.rungs:
            kept += rung.num_trials * folds * round(ROUND + EPOCH * rung.epochs)
    return kept


def _count_standing(study: Study, stage: TuneStage, workers: int) -> int:
    """Return the most checkpoints of a search that exist at any moment."""
    if study.promotion(stage) != "continue":
        return 0
    folds, brackets = stage.folds or 1, study.brackets(stage)
    if find_sampler(stage.sampler).adaptive:  # One bracket after the other.
        return max(count_checkpoints([bracket], folds, workers) for bracket in brackets)
    return count_checkpoints(brackets, folds, workers)


def _picture_bytes(data: Dataset, num_test: int) -> int:
    """Return the bytes of mistakes, hard and identical images that are kept for the report."""
    height, width, channels = data.image_shape
    return height * width * channels * (min(num_test, MOST) + 2 * MOST + MOST_DOUBTFUL + MOST_SETS)


def _measure_standing(folder: Path) -> int:
    """Return the bytes in a run folder that a resumed run need not write again."""
    standing = 0
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] == "superseded":
            continue
        try:
            standing += path.lstat().st_size
        except OSError:  # It went while we looked.
            continue
    return standing
