"""What docs/architecture.md promises of the code's shape: sizes, and no circles of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = sorted((SOURCE / "burnish").rglob("*.py"))

MODULE, CLASS, FUNCTION = 400, 250, 60
"""Lines at most: of a module and a class in all, of a function its code alone."""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Count a function's lines behind its docstring that are neither empty nor comments."""
    body = function.body[ast.get_docstring(function) is not None :]
    if not body:
        return 0
    code = [line.strip() for line in lines[body[0].lineno - 1 : function.end_lineno]]
    return sum(bool(line) and not line.startswith("#") for line in code)


def find_large(path: Path) -> Iterator[str]:
    lines = path.read_text().splitlines()
    if len(lines) > MODULE:
        yield f"{path.name}: {len(lines)} lines"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ClassDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            if size > CLASS:
                yield f"{path.name}: class {node.name}, {size} lines"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = code_lines(node, lines)
            if size > FUNCTION:
                yield f"{path.name}: {node.name}(), {size} lines of code"


def test_modules_classes_and_functions_are_small() -> None:
    assert [found for path in MODULES for found in find_large(path)] == []


def test_a_large_function_would_be_found(tmp_path: Path) -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION + 1))
    path = tmp_path / "large.py"
    path.write_text(f'def f():\n    """Text."""\n    # A comment.\n\n{body}\n')
    assert list(find_large(path)) == ["large.py: f(), 61 lines of code"]


def test_the_study_has_few_files() -> None:
    assert len(list((SOURCE / "burnish/study").glob("*.py"))) <= 10


def read_imports(source: Path) -> dict[str, set[str]]:
    """Return what is imported while each module of a folder is, in that folder."""
    modules = {_name(path.relative_to(source)): path for path in source.rglob("*.py")}
    return {name: _find_imports(path, name, set(modules)) for name, path in modules.items()}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _find_imports(path: Path, name: str, names: set[str]) -> set[str]:
    found: set[str] = set()
    waiting: list[ast.AST] = [parse(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue  # What is imported inside is imported later.
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & names
            found |= members or {node.module}
        waiting += ast.iter_child_nodes(node)
    return found & names - {name}


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = read_imports(SOURCE)
    assert len(imports) > 250
    TopologicalSorter(imports).prepare()


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from two import x\n")
    (tmp_path / "two.py").write_text("try:\n    import one\nexcept ImportError:\n    x = 1\n")
    with pytest.raises(CycleError):
        TopologicalSorter(read_imports(tmp_path)).prepare()
    (tmp_path / "two.py").write_text("def f():\n    import one\n")
    TopologicalSorter(read_imports(tmp_path)).prepare()
