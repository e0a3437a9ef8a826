"""What the documents say of the project is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREE_ENTRY = re.compile(r"^(?P<indent> *)(?P<name>[\w.\-*/]+)( {2,}|$)")


def _tree_of_readme() -> set[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- tree -->")[1].split("```")[1]
    paths: set[str] = set()
    folders: list[str] = []
    for line in block.splitlines()[1:]:
        entry = TREE_ENTRY.match(line)
        if entry is None:
            continue
        depth = len(entry["indent"]) // 2
        folders = folders[:depth]
        path = "".join(folders) + entry["name"]
        if path.endswith("/"):
            folders.append(entry["name"])
        else:
            paths.add(path)
    return paths


def _files_on_disk() -> set[str]:
    """Python, TOML and template files of the package, and the documents, as git knows them."""
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "src",
            "docs",
            "benchmarks",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    kept = {path for path in listed if not path.startswith("docs/images/")}
    boring = ("__init__.py", "py.typed", "__main__.py")
    return {path for path in kept if not path.endswith(boring) and (ROOT / path).exists()}


def test_readme_tree_names_every_file_and_no_other() -> None:
    assert _tree_of_readme() == _files_on_disk()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for document in documents:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_constraints_pin_exact_versions_and_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line
