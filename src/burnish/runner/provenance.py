"""Where a run's results come from: versions, machine, settings and data."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from burnish.backend import BACKEND, describe_settings, processor_name
from burnish.data import Dataset
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.runner.data_place import describe_place
from burnish.stages.fingerprint import code_fingerprint
from burnish.stages.fit_requests import library_versions
from burnish.stages.placement import DETERMINISTIC, Placement
from burnish.study.schema import FinalStage
from burnish.study.study import Study
from burnish.training.fit import choose_precision
from burnish.version import __version__


def describe_provenance(
    study: Study,
    data: Dataset,
    num_test: int,
    folder: RunFolder,
    placement: Placement,
    command: str,
) -> dict[str, Any]:
    """Return the content of the run's ``provenance.json``, which every bundle has too.

    Parameters
    ----------
    study
        The planned study.
    data, num_test
        The data, and the number of images in the sealed split.
    folder
        The run folder.
    placement
        Where trials are fitted.
    command
        The command to give again; if empty, this process's own command line.
    """
    precisions = {
        choose_precision(study.settings(stage).precision, study.family(stage))
        for stage in study.stages
        if not isinstance(stage, FinalStage)
    }
    return {
        "burnish": __version__,
        "code": code_fingerprint(),
        "python": platform.python_version(),
        **library_versions(),
        "backend": BACKEND,
        "settings": describe_settings(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "precision": ", ".join(sorted(precisions)),
        "deterministic": DETERMINISTIC,
        "study_seed": study.seed,
        "command": command or " ".join(["burnish", *sys.argv[1:]]),
        **placement.describe(),
        "taken_over": {},  # By stage, what came from trials of an earlier search.
        "data": _describe_data(study, data, num_test, folder),
    }


def write_provenance(folder: RunFolder, provenance: Mapping[str, Any]) -> None:
    """Write ``provenance.json``."""
    write_json(folder.path / "provenance.json", provenance)


def _describe_data(study: Study, data: Dataset, num_test: int, folder: RunFolder) -> dict[str, Any]:
    return {
        "source": data.source,
        **describe_place(study.data, folder),
        "fingerprint": data.fingerprint,
        "class_names": list(data.class_names),
        "num_train": len(data.train),
        "num_val": len(data.val),
        "num_test": num_test,
        "image_shape": list(data.image_shape),
        "facts": data.facts.describe(),
    }
