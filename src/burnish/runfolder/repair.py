"""What becomes of damage when a run goes on: it is set aside, and done again.

A stage is not lost for one file. What can be relied on stays, trials and a reading of the
test split above all; the damaged files move to ``superseded/``, and with them the stage's
result, so that the stage goes on as one that was interrupted before its end.
"""

from __future__ import annotations

import re
from pathlib import Path

from burnish.errors import RunFolderError
from burnish.files import read_json, write_json
from burnish.runfolder.manifest import DRAWN, check_folder
from burnish.runfolder.manifest import FILE as MANIFEST
from burnish.runfolder.store import RunFolder, now

_CLAIMS = ("result.json", "begun.json", MANIFEST)
"""Files of a stage that say what it was begun with."""


def set_damage_aside(run: RunFolder, place: Path) -> list[str]:
    """Move what is damaged in a stage's folder out of the way.

    Parameters
    ----------
    run, place
        The run, and the folder of its stage.

    Returns
    -------
    What was found, a line each; nothing where all is well.

    Raises
    ------
    RunFolderError
        If a file may not be read: it may be as good as ever.
    """
    if not place.is_dir():
        return []
    finished = (place / "result.json").exists()
    found = [
        finding
        for finding in check_folder(place, finished=finished)
        if finding.problem != "unknown" and finding.path.name not in DRAWN
    ]
    if not found:
        return []
    for finding in found:
        if finding.problem == "unreadable":
            raise RunFolderError(f"{finding.detail}. Mend that, then give the same command again")
    notes = [finding.detail for finding in found]
    print_ = _find_fingerprint(place)
    if print_ is None:
        # Nobody can say what the rest is of.
        kept = run.supersede(place)
        return [*notes, f"the stage is done again; it is kept in {kept.relative_to(run.path)}"]
    target = run.make_room(f"{place.name}-damaged")
    damaged = {finding.path for finding in found if finding.problem == "damaged"}
    for finding in found:
        damaged |= _find_claims(finding.path, place)
    if finished:
        # First: without a result, what the rest was begun with must be known.
        write_json(place / "begun.json", {"fingerprint": print_, "time": now(), "epochs": 0.0})
        damaged -= {place / name for name in _CLAIMS}
    # The result last: as long as it stands, the damage is found again.
    for path in [
        *sorted(damaged),
        *([place / MANIFEST, place / "result.json"] if finished else []),
    ]:
        if path.exists():
            kept = target / path.relative_to(place)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
    return [*notes, f"what it was made of is done again; see {target.relative_to(run.path)}"]


def _find_claims(path: Path, place: Path) -> set[Path]:
    """Records of a trial's round, or of one of several seeds, that count a file as done."""
    if path.parent == place:
        return set()
    a_round = re.match(r"round-\d+", path.name)
    names = [f"{a_round[0]}.json"] if a_round else ["result.json", MANIFEST]
    return {path.with_name(name) for name in names}


def _find_fingerprint(place: Path) -> str | None:
    for name in _CLAIMS:
        try:
            found = read_json(place / name).get("fingerprint")
        except RunFolderError:
            continue
        if isinstance(found, str):
            return found
    return None
