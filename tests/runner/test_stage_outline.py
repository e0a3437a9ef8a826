from __future__ import annotations

from burnish.runner.stage_outline import count_epochs, count_search_epochs, describe_stage
from burnish.study.parse import parse_study
from burnish.tuning.schedules import Bracket, Rung

STUDY, _ = parse_study(
    """
[study]
name = "outline"

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
max_epochs = 3

[[stage]]
name = "start"
kind = "train"
model = "fnn"
seeds = 2

[[stage]]
name = "search"
kind = "tune"
base = "start"
sampler = "random"
trials = 4
folds = 2
schedule = { name = "successive-halving", min_epochs = 1, max_epochs = 2, factor = 2 }
refit = { max_epochs = 5 }
[stage.space]
hidden_layer_size = [16, 32, 64, 128]

[[stage]]
name = "final"
kind = "final"
""",
    "the test's study",
)
START, SEARCH, FINAL = STUDY.stages


def test_epochs_are_those_of_all_folds_and_seeds() -> None:
    assert count_epochs(STUDY, START) == 2 * 3
    # Four trials of one epoch, two of them up to two, in two folds; then the refit.
    (bracket,) = STUDY.brackets(SEARCH)  # type: ignore[arg-type]
    assert bracket.rungs == (Rung(4, 1), Rung(2, 2))
    assert count_epochs(STUDY, SEARCH) == 2 * (4 * 1 + 2 * 2) + 5
    assert count_epochs(STUDY, FINAL) == 0


def test_brackets_add_up() -> None:
    brackets = (Bracket((Rung(4, 1.0), Rung(2, 2.0))), Bracket((Rung(3, 0.5),)))
    assert count_search_epochs(brackets) == 9.5
    assert count_search_epochs(()) == 0


def test_each_kind_of_stage_has_a_line() -> None:
    assert describe_stage(STUDY, START) == "fnn, up to 3 epochs, float32"
    assert describe_stage(STUDY, SEARCH) == (
        "fnn, from 'start', 4 trials, random x successive-halving, 2 folds"
    )
    assert describe_stage(STUDY, FINAL) == (
        "lowest validation loss of all stages, then the test split, once"
    )
