"""The tree of the code in docs/architecture.md: a line for each file, which the file itself says.

    python docs/tree.py          # writes it anew

Of a Python file it is the first line of its docstring, of others the first comment. A test holds
the page against the disk.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree -->", "<!-- end of tree -->"
FOLDERS = ("src/burnish", "benchmarks", "docs")
COLUMN = 34
"""Where the descriptions begin."""

_COMMENTS = (
    r"\{#-?\s*(.+?)\s*-?#\}",
    r"<!--\s*(.+?)\s*-->",
    r"/\*+\s*(.+?)\s*\*/",
    r"^\s*//\s*(.+)$",
    r"^#\s*(.+)$",
)
_SELF_TOLD = (".md", ".ipynb", ".png", ".gif", ".typed")
"""Files that say at their top what they are, or show it."""


def write_tree() -> str:
    """Return the tree as a block of Markdown.

    Raises
    ------
    ValueError
        If a file does not say what it is.
    """
    lines = []
    for folder in FOLDERS:
        lines.append(f"{folder}/")
        lines += _write_folder(folder, 1)
    return "\n".join([BEGIN, "```", *lines, "```", END])


def _write_folder(folder: str, depth: int) -> list[str]:
    inside: dict[str, list[str]] = {}
    for path in _tracked(folder):
        head, _, rest = path.removeprefix(f"{folder}/").partition("/")
        inside.setdefault(head, []).append(rest)
    lines = []
    # Files before folders, each in the order of their names.
    for name in sorted(inside, key=lambda n: (inside[n] != [""], n)):
        path = f"{folder}/{name}"
        if inside[name] == [""]:
            if name not in ("__init__.py", "__main__.py"):
                shown = f"{'  ' * depth}{name}".ljust(COLUMN)
                lines.append(f"{shown} {describe_file(ROOT / path)}".rstrip())
        elif not all(rest.endswith(_SELF_TOLD) for rest in inside[name]):
            about = describe_file(ROOT / path / "__init__.py") if _is_package(path) else ""
            lines.append(f"{f'{chr(32) * 2 * depth}{name}/'.ljust(COLUMN)} {about}".rstrip())
            lines += _write_folder(path, depth + 1)
    return lines


def _is_package(path: str) -> bool:
    return (ROOT / path / "__init__.py").exists()


def _tracked(folder: str) -> list[str]:
    """List the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted({path for path in listed.stdout.splitlines() if (ROOT / path).exists()})


def describe_file(path: Path) -> str:
    """Return what a file says of itself in one line.

    Raises
    ------
    ValueError
        If it says nothing.
    """
    if path.suffix in _SELF_TOLD:
        return ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    else:
        found = (re.search(comment, text[:2000], re.MULTILINE) for comment in _COMMENTS)
        said = next((match[1] for match in found if match), "")
    if not said:
        raise ValueError(f"{path.relative_to(ROOT)} does not say what it is: begin with a comment")
    return said.rstrip(".")


def main() -> None:
    """Write the tree into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + write_tree() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
