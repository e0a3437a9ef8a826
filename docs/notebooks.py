"""The notebooks of the documents, executed: for the site as Markdown, and in a test.

Executing takes a minute, so what was executed is kept in build/notebooks under the digest of
the notebook and of burnish itself: 'make docs' and 'make test' execute each once in all.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ("tour.ipynb", "study.ipynb")
SECONDS = 600
"""After which a cell has failed; a busy machine may need many times what they take."""


def execute(name: str) -> Any:
    """Return a notebook of docs/ as it is after all of its cells have run in a kernel.

    Parameters
    ----------
    name
        One of `NOTEBOOKS`.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    path = ROOT / "docs" / name
    kept = ROOT / "build" / "notebooks" / f"{path.stem}-{_digest(path)}.ipynb"
    if kept.exists():
        return nbformat.read(kept, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    # A kernel is found by the Python that runs this, not by what is installed for the user.
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore"})
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(f".{os.getpid()}")
    nbformat.write(notebook, temporary)
    temporary.replace(kept)
    return notebook


def _digest(notebook: Path) -> str:
    digest = hashlib.sha256(notebook.read_bytes())
    for path in sorted((ROOT / "src" / "burnish").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_markdown(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Return an executed notebook as Markdown, and its pictures by the names of their files."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in _join_streams(cell.outputs):
            for text, picture in _write_output(output, f"{name}-{len(pictures)}.png"):
                parts.append(text)
                if picture is not None:
                    pictures[f"{name}-{len(pictures)}.png"] = picture
    return "\n\n".join(parts) + "\n", pictures


def _join_streams(outputs: Any) -> list[Any]:
    """Join what was printed in pieces: each line comes as an output of its own."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        elif output.output_type == "stream" or any(_write_output(output, "")):
            joined.append(copy.deepcopy(output))
    return joined


def _write_output(output: Any, file: str) -> Iterator[tuple[str, bytes | None]]:
    """Return what is shown of an output; nothing of a bar that is gone."""
    if output.output_type == "stream":
        if output.name == "stdout":
            yield f"```text\n{output.text.rstrip()}\n```", None
        return
    data = output.data
    if "image/png" in data:
        yield f"![]({file})", base64.b64decode(data["image/png"])
    elif "text/html" in data:
        # Within one element, and without empty lines: all of it is HTML to Markdown.
        lines = "\n".join(line for line in data["text/html"].splitlines() if line.strip())
        if lines:
            yield f"<div>\n{lines}\n</div>", None
    else:
        yield f"```text\n{data['text/plain']}\n```", None
