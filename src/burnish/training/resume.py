"""The checkpoint that a fit goes on from: its own, or that of a smaller budget."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnish.errors import DamageError, RunFolderError
from burnish.training.checkpoint import Checkpoint, load_checkpoint
from burnish.training.request import FitRequest


def find_checkpoint(
    request: FitRequest, identity: dict[str, Any], num_steps: int
) -> Checkpoint | None:
    """Return a fit's own checkpoint, or that of the smaller budget it goes on from.

    One that is damaged is set aside: from its start, and by the budgets before, a fit comes
    to the same weights. A cycle of learning rates that began where a smaller budget ended
    does not where those budgets are not known.

    Parameters
    ----------
    request
        Of the fit.
    identity
        What a checkpoint must agree with.
    num_steps
        That the fit may take in all.

    Raises
    ------
    RunFolderError
        If what the fit is to go on from is another's, or cannot be made again.
    """
    own = _load_sound(request.checkpoint, identity) if request.checkpoint else None
    if own is not None or request.resume_from is None:
        return own
    smaller = _load_sound(request.resume_from, identity, any_budget=True)
    if smaller is not None and smaller.step <= num_steps:
        return replace(smaller, cycle_start=smaller.step)
    if request.resume_from.exists():
        raise RunFolderError(
            f"{request.resume_from} is not a checkpoint of this fit with a smaller budget"
        )
    if request.budgets_before or request.settings.learning_rate_schedule == "constant":
        return None
    raise RunFolderError(
        f"{request.resume_from} is missing or damaged, and a cycle of learning rates began "
        f"where it ended. Delete the folder {request.resume_from.parent} and give the same "
        "command again: its trial is fitted from its first round."
    )


def _load_sound(
    path: Path, identity: dict[str, Any], *, any_budget: bool = False
) -> Checkpoint | None:
    """Load a checkpoint; one that is damaged is renamed, and counts as none."""
    try:
        return load_checkpoint(path, identity, any_budget=any_budget)
    except DamageError as error:
        kept = path.with_name(f"{path.name}.damaged")
        path.replace(kept)
        logging.getLogger(__name__).warning(
            "%s. Its fit starts afresh; it is kept as %s", error, kept.name
        )
        return None
