"""Fits and plug-ins that go wrong: recorded with the reason, never the winner.

`plugins.py` is the program that a user would write; its study runs in real workers.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.backend import keras
from burnish.data import SOURCES, Dataset, LabelledImages, Source, load_source
from burnish.data.formats import FORMATS, Format, read_listing
from burnish.errors import BurnishError, DataError, StudyError, TrainingError
from burnish.models import FAMILIES, default_params
from burnish.models.family import Family, Layers
from burnish.models.fnn import FNN
from burnish.models.layers import LayerFactory
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.space import Params, SearchSpace
from burnish.study.parse import parse_study
from burnish.training import FitRequest, TrainingSettings, fit
from burnish.tuning.samplers import SAMPLERS, Observation, Point, Sampler

from . import sample
from .conftest import Tally

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROW = "NaN or exploding loss, unbuildable model, raising plug-in"

PROGRAM = Path(__file__).with_name("plugins.py")

STUDY = """
[study]
name = "plugins"
[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }
[training]
batch_size = 50
max_epochs = 2
[[stage]]
name = "tuned"
kind = "tune"
model = "wayward"
sampler = "grid"
schedule = { name = "full", max_epochs = 1 }
params = { learning_rate = 0.01 }
[stage.space]
way = WAYS
[[stage]]
name = "final"
kind = "final"
"""

REASONS = {
    "raises": "StudyError: the model 'wayward' cannot be built for images of 8x8x1 with way = "
    "raises: LookupError: no such layer (plugins.py, line ",
    "quits": "StudyError: the model 'wayward' cannot be built for images of 8x8x1 with way = "
    "quits: SystemExit: 3 (plugins.py, line ",
    "not buildable": "StudyError: the model 'wayward' cannot be built for images of 8x8x1 with ",
    "nan": "TrainingError: the loss is nan in epoch ",
    "overflows": "TrainingError: the loss is nan in epoch ",
    "nan in validation": "TrainingError: the loss is nan in epoch 1.00 ",
    "exits": "its worker process ended with code 3, 2 times",
}
"""How the reason of a trial's failure begins, by the way in which it went wrong."""


def test_what_goes_wrong_in_trials_is_recorded_and_never_wins(tmp_path: Path, tally: Tally) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""
    bad = ["nan", "huge", *(way for way in REASONS if way != "nan")]
    bad = bad[: sample(4, len(bad))]
    # The good one last: nothing has succeeded when it comes.
    listed = json.dumps([*bad, "fine"])
    study, run = tmp_path / "plugins.toml", RunFolder(tmp_path / "run")
    study.write_text(STUDY.replace("WAYS", listed), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(study), str(run.path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tuned, final = (record.result for record in run.stages())
    trials = {trial["params"]["way"]: trial for trial in tuned["trials"]}
    assert set(trials) == {*bad, "fine"}
    for way, trial in trials.items():
        if way in REASONS:
            assert trial["state"] == "failed"
            assert trial["loss"] is None
            assert trial["failure"].startswith(REASONS[way]), trial["failure"]
        else:
            assert trial["state"] == "complete"
    # A loss of 1e15 in training is one image's worst, 87.3, in validation: it counts, and loses.
    assert trials["fine"]["loss"] < trials["huge"]["loss"] < 88
    assert tuned["params"]["way"] == final["params"]["way"] == "fine"
    tally(ROW, len(bad))


# In a stage's own fit


def own(build: Callable[[Params, LayerFactory], Layers]) -> Family:
    return replace(FNN, name="own", build=build, defaults={}, limits=SearchSpace({}))


def fails(params: Params, factory: LayerFactory) -> Layers:
    raise ZeroDivisionError


def breaks_in_training(params: Params, factory: LayerFactory) -> Layers:
    def layer(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            raise OSError("the disk of this layer is full")
        return x

    class Breaking(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return layer(x)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    return [factory.flatten(), Breaking()]


def has_nan(params: Params, factory: LayerFactory) -> Layers:
    """A layer whose weights are NaN, and one behind it that makes numbers of them."""
    broken = keras.layers.Dense(4, bias_initializer=keras.initializers.Constant(np.nan))
    return [
        factory.flatten(),
        broken,
        lambda x: keras.ops.where(keras.ops.isnan(x), keras.ops.zeros_like(x), x),
        factory.dense(8),
    ]


def run_stage(text: str, folder: Path) -> None:
    study, text = parse_study(text, "the test's study")
    run_study(study, text, RunFolder(folder), workers=1)


TRAIN = """
[study]
name = "train"
[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }
[training]
batch_size = 50
max_epochs = 1
[[stage]]
name = "only-one"
kind = "train"
model = "own"
[[stage]]
name = "final"
kind = "final"
"""


@pytest.mark.parametrize(
    ("build", "kind", "said"),
    [
        (fails, StudyError, r"the model 'own' cannot be built .*: ZeroDivisionError \(test_plug"),
        (breaks_in_training, TrainingError, "the fit of 'own' failed: .*the disk of this layer"),
        (has_nan, TrainingError, "1 of 6 arrays of weights are not finite in epoch 1.00"),
    ],
)
def test_a_stages_own_fit_that_goes_wrong_is_one_error_that_names_the_stage(
    build: Callable[[Params, LayerFactory], Layers],
    kind: type[BurnishError],
    said: str,
    tmp_path: Path,
    plug_in: Callable[[Any, Any], None],
    tally: Tally,
) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""
    plug_in(FAMILIES, own(build))
    with pytest.raises(kind, match=rf"(?s)^stage 'only-one': {said}") as caught:
        run_stage(TRAIN, tmp_path)
    state = json.loads((tmp_path / "state.json").read_text("utf-8"))
    assert (state["state"], state["stage"]) == ("failed", "only-one")
    assert state["error"] == str(caught.value)
    # It is no result: repaired, the same command runs it.
    assert not list(tmp_path.glob("stages/*/result.json"))
    tally(ROW)


def test_a_fit_that_diverges_names_its_stage(tmp_path: Path, tally: Tally) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""
    params = "{ num_hidden_layers = 16, dropout_rate = 0.0, learning_rate = 10.0 }"
    text = TRAIN.replace('model = "own"', f'model = "fnn"\nparams = {params}')
    text = text.replace("max_epochs = 1", "max_epochs = 20")
    with pytest.raises(TrainingError, match=r"^stage 'only-one': the loss is "):
        run_stage(text, tmp_path)
    tally(ROW)


# Samplers and sources


def raises(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    return {"hidden_layer_size": int(observations[5].params["hidden_layer_size"])}


def proposes_nonsense(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    return {"hidden_layer_size": 7}


@pytest.mark.parametrize(
    ("propose", "said"),
    [
        (raises, r"failed: IndexError: list index out of range \(test_plugins.py, line \d+, in r"),
        (proposes_nonsense, r"proposed {'hidden_layer_size': 7}, which is not a point of the "),
    ],
)
def test_a_sampler_that_goes_wrong_is_one_error_that_names_it_and_the_stage(
    propose: Callable[..., Point],
    said: str,
    tmp_path: Path,
    plug_in: Callable[[Any, Any], None],
    tally: Tally,
) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""
    plug_in(SAMPLERS, Sampler("mine", propose, adaptive=True))
    tune = 'kind = "tune"\nsampler = "mine"\ntrials = 3\nspace = { hidden_layer_size = [8, 16] }\n'
    text = TRAIN.replace('kind = "train"\nmodel = "own"', f'{tune}model = "fnn"')
    with pytest.raises(StudyError, match=f"^stage 'only-one': the sampler 'mine' {said}"):
        run_stage(text, tmp_path)
    tally(ROW)


def test_a_source_that_goes_wrong_is_one_error_that_names_it(
    plug_in: Callable[[Any, Any], None], tally: Tally
) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""

    def load(data_dir: Path | None) -> LabelledImages:
        known: dict[str, LabelledImages] = {}
        return known["mine"]

    plug_in(SOURCES, Source("mine", load))
    with pytest.raises(DataError, match=r"^the source 'mine' failed: KeyError: .*test_plugins.py"):
        load_source("mine", None)
    tally(ROW)


@pytest.mark.parametrize("wrong", ["detect", "read"])
def test_a_format_that_goes_wrong_is_one_error_that_names_it(
    wrong: str, plug_in: Callable[[Any, Any], None], tmp_path: Path, tally: Tally
) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""

    def fail(*_: Any) -> Any:
        raise ValueError("no such magic number")

    detect = fail if wrong == "detect" else Path.exists
    plug_in(FORMATS, Format("mine", "mine", detect, fail))
    with pytest.raises(DataError, match=r"^the format 'mine' failed: ValueError: no such magic"):
        read_listing(tmp_path)
    tally(ROW)


def test_weights_that_are_not_finite_are_refused_though_the_loss_is(
    digits: Dataset,
    plug_in: Callable[[Any, Any], None],
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
) -> None:
    """Row: NaN loss, exploding loss, a model that cannot be built, an exception in a plug-in."""
    plug_in(FAMILIES, own(has_nan))
    request = FitRequest(
        "own", default_params(FAMILIES.find("own")), TrainingSettings(max_epochs=1), 1
    )
    with pytest.raises(TrainingError, match="not finite"):
        fit(request, digits)
    # The package has a function of that name too.
    fits = importlib.import_module("burnish.training.fit")
    monkeypatch.setattr(fits, "refuse_broken_weights", lambda *_: None)
    assert np.isfinite(fit(request, digits).val_loss)  # What would have been a result.
    tally(ROW)
