"""What was found out about a data set on the way to a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DataFacts:
    """Plain facts for the report, the provenance and the terminal.

    Attributes
    ----------
    format
        Registered name of the format the images came in; empty for built-in sources.
    num_images
        Images that are used, in all splits together.
    num_skipped, skipped
        Images that could not be used and were left out; the first of them, each with its reason.
    num_duplicates
        Images whose pixels are those of an image before them.
    num_dropped
        Of these, how many were taken out of train or val since they are in test or val too.
    num_conflicts, conflicts
        Sets of identical images that have more than one label; the first of them.
    given_splits
        The splits that the data came with.
    shortcuts
        Classes that can be told apart without looking at what images show; in `warnings` too.
    notes
        What was chosen, and what of interest was done.
    warnings
        What a person should look into.
    chosen
        Keys of ``[data]`` that would say what was found out alone, with their values.
    """

    format: str = ""
    num_images: int = 0
    num_skipped: int = 0
    skipped: tuple[str, ...] = ()
    num_duplicates: int = 0
    num_dropped: int = 0
    num_conflicts: int = 0
    conflicts: tuple[str, ...] = ()
    given_splits: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return the facts as plain data, for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
