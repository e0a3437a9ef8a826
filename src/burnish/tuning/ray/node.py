"""What happens on a node of a Ray cluster: one attempt at one task.

Imports nothing that is heavy: what runs the task loads what it needs.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.errors import RunFolderError

if TYPE_CHECKING:
    from burnish.data import Dataset
    from burnish.tuning.executor import FitTask, Fold, Outcome

    Runner = Callable[[FitTask, Callable[[], Dataset]], Outcome]
    """Runs a task; it asks for the data when it needs them."""

Facts = Mapping[str, str]
"""What two machines must have in common to give the same results, by its name."""


@dataclass(frozen=True)
class Place:
    """Which process an attempt runs in."""

    node: str
    host: str
    address: str
    pid: int

    def describe(self) -> str:
        """Name the node for people; several may be on one host."""
        return f"{self.host} ({self.address}, node {self.node[:6]})"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task, as it travels.

    Attributes
    ----------
    token
        Tells it from every other attempt.
    task
        The task, pickled: it is opened only where burnish is the same.
    run
        What runs it.
    expected
        What must be so on the node, as ``identify`` gives it there.
    shared
        Checkpoints are written where the task says, into a folder that all nodes have.
    probe
        A file that is there if that folder is the driver's.
    """

    token: str
    task: bytes
    run: Runner
    expected: Facts
    shared: bool
    probe: str | None


@dataclass(frozen=True)
class Sent:
    """References to what is in the object store: an attempt fetches only what it needs."""

    data: Any
    checkpoint: Any = None
    resume_from: Any = None
    start: Any = None


class Board:
    """Where attempts say in which process they are; an actor that may die without harm."""

    def __init__(self) -> None:
        self._posts: list[tuple[str, tuple[str, str, str, int]]] = []

    def post(self, token: str, place: tuple[str, str, str, int]) -> None:
        """An attempt has begun there."""
        self._posts.append((token, place))

    def take(self) -> list[tuple[str, tuple[str, str, str, int]]]:
        """Return what has been posted since the last time."""
        posts, self._posts = self._posts, []
        return posts


def make_entry() -> Callable[..., dict[str, Any]]:
    """Make the function that Ray calls on a node.

    It is made here, so that it travels as code and not by its name: it must be able to
    say that there is no burnish on the node, or another one.
    """

    def enter(board: Any, identify: bytes, attempt: bytes, sent: Any) -> dict[str, Any]:
        import os
        import pickle
        import socket

        import ray

        node = ray.get_runtime_context().get_node_id()
        place = (node, socket.gethostname(), ray.util.get_node_ip_address(), os.getpid())
        try:
            from burnish.tuning.ray.node import begin

            known = pickle.loads(identify)
        except (ImportError, AttributeError) as error:
            return {"place": place, "misfit": f"there is no burnish there, or another: {error}"}
        return begin(board, known, attempt, sent, place)

    return enter


def begin(
    board: Any, identify: Callable[[], Facts], packed: bytes, sent: Sent, place: tuple[Any, ...]
) -> dict[str, Any]:
    """Carry an attempt out, unless this node is another than it must be.

    Returns
    -------
    ``place``, and either ``misfit``, a reason, or ``facts`` of the node with ``refused``,
    what its disk refused, or with ``outcome`` and ``checkpoint``, the bytes of one that does
    not lie in a shared folder.
    """
    facts = _identify(identify)
    try:
        attempt: Attempt = pickle.loads(packed)
    except (ImportError, AttributeError) as error:
        return {"place": place, "misfit": f"burnish is another there: {error}"}
    for name, expected in attempt.expected.items():
        if facts.get(name) != expected:
            return {"place": place, "misfit": f"{name} is {facts.get(name)} there, not {expected}"}
    if attempt.probe is not None and not Path(attempt.probe).exists():
        misfit = f"the run folder is not there (no {attempt.probe}), but checkpoints are 'shared'"
        return {"place": place, "misfit": misfit}
    board.post.remote(attempt.token, place)
    with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
        task = _bring_checkpoints(attempt, sent, Path(scratch))
        try:
            outcome = attempt.run(task, lambda: _fetch_data(sent.data))
        except RunFolderError as error:
            return {"place": place, "facts": dict(facts), "refused": str(error)}
        kept = task.request.checkpoint if not task.probe and not attempt.shared else None
        return {
            "place": place,
            "facts": dict(facts),
            "outcome": outcome,
            "checkpoint": kept.read_bytes() if kept is not None and kept.exists() else None,
        }


def name_attempts_file(checkpoint: Path, token: str) -> Path:
    """Where, in a shared folder, an attempt keeps what may become this checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}-{token}{checkpoint.suffix}")


def _bring_checkpoints(attempt: Attempt, sent: Sent, scratch: Path) -> FitTask:
    """Return the task with checkpoints, and what it starts from, at paths of this attempt alone."""
    task: FitTask = pickle.loads(attempt.task)
    request = task.request
    if request.start is not None and sent.start is not None:
        model = scratch / "start.keras"
        model.write_bytes(_get(sent.start))
        request = replace(request, start=replace(request.start, model=model))
        task = replace(task, request=request)
    if task.probe or request.checkpoint is None:
        return task
    if attempt.shared:
        own = name_attempts_file(request.checkpoint, attempt.token)
        if request.checkpoint.exists():
            shutil.copyfile(request.checkpoint, own)
        return replace(task, request=replace(request, checkpoint=own))
    own, before = scratch / "checkpoint.npz", scratch / "before.npz"
    for path, reference in ((own, sent.checkpoint), (before, sent.resume_from)):
        if reference is not None:
            path.write_bytes(_get(reference))
    resume_from = before if request.resume_from is not None else None
    return replace(task, request=replace(request, checkpoint=own, resume_from=resume_from))


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)


# Of this process: data are mapped, folds cut and the backend is set up once in it.
_data: dict[str, Any] = {}
_folds: dict[tuple[str, Fold], Dataset] = {}
_facts: dict[str, Facts] = {}
_configured: list[bool] = []


def _identify(identify: Callable[[], Facts]) -> Facts:
    name = f"{identify.__module__}.{identify.__qualname__}"
    if name not in _facts:
        _facts[name] = identify()
    return _facts[name]


def _fetch_data(reference: Any) -> Dataset:
    """Return the data set of a reference; it is mapped from this node's object store."""
    key = reference.hex()
    if key not in _data:
        _data.clear()
        _folds.clear()
        _data[key] = _get(reference)
    dataset: Dataset = _data[key]
    return dataset


@dataclass(frozen=True)
class FitActor:
    """The runner that fits, or probes."""

    deterministic: bool

    def __call__(self, task: FitTask, load: Callable[[], Dataset]) -> Outcome:
        """Run a task with as many threads as Ray gives this process CPUs."""
        from burnish.backend import configure, settle_imports
        from burnish.tuning.task import run_task

        if not _configured:
            configure(deterministic=self.deterministic, threads=int(os.environ["OMP_NUM_THREADS"]))
            settle_imports()
            _configured.append(True)
        return run_task(task, load(), _folds)
