"""What the executor of a Ray cluster is made of, without Ray."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.errors import ClusterError
from burnish.tuning.executor import ATTEMPTS, FitTask
from burnish.tuning.ray.agreement import Agreement
from burnish.tuning.ray.attempts import NODES_LOST, AttemptedTask
from burnish.tuning.ray.node import Place

from .test_executor import ask

PLACE = Place("0123456789", "host", "10.0.0.1", 7)


def test_a_task_fails_after_so_many_crashes_or_lost_nodes_and_says_how() -> None:
    task = AttemptedTask(FitTask("0/0/0", ask()))
    lost = crashed = task
    for number in range(1, NODES_LOST):
        lost = lost.lose_node()
        assert (lost.find_failure(), lost.next_attempt) == (None, number + 1)
    assert lost.lose_node().find_failure() == f"its node was lost, {NODES_LOST} times"
    for _ in range(1, ATTEMPTS):
        crashed = crashed.crash("hung")
        assert crashed.lose_node().find_failure() is None
    ended = crashed.crash("ended").find_failure()
    assert ended == f"its worker process hung, then ended, {ATTEMPTS} times"


def test_nodes_agree_with_this_machine_and_in_their_processor_with_one_another() -> None:
    said: list[str] = []
    agreement = Agreement({"numpy": "2", "processor": "x"}, said.append)

    def reply(**facts: str) -> dict[str, Any]:
        return {"facts": facts}

    assert dict(agreement.expected) == {"numpy": "2"}
    agreement.refuse_misfit(PLACE, reply(numpy="2", processor="y"))
    agreement.refuse_misfit(PLACE, reply(numpy="2", processor="y"))
    assert said == [
        "trials are fitted by another kind of machine (processor: y) than stages' own fits here (x)"
    ]
    with pytest.raises(ClusterError, match=r"host \(10\.0\.0\.1.*numpy is 3 there, not 2"):
        agreement.refuse_misfit(PLACE, reply(numpy="3", processor="y"))
    with pytest.raises(ClusterError, match="processor is x there, not y"):
        agreement.refuse_misfit(PLACE, reply(numpy="2", processor="x"))
    with pytest.raises(ClusterError, match="no burnish there"):
        agreement.refuse_misfit(PLACE, {"misfit": "there is no burnish there"})
