"""What keeps the shape of the project."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTAINERS = ("cli", "crds", "operator", "proto", "router", "sim")
CORE = ROOT / "router" / "headway_core"

LONG_MODULES = {"router/headway_router/metric_table.py": "one table of all metrics"}
"""Modules over 250 lines that are allowed, each with its reason."""


def _modules() -> Iterator[Path]:
    for container in CONTAINERS:
        yield from (p for p in (ROOT / container).rglob("*.py") if "_pb2" not in p.name)


def test_containers_are_not_packages() -> None:
    shadowing = [str(c) for c in CONTAINERS if (ROOT / c / "__init__.py").exists()]
    shadowing += [str(p) for p in (ROOT / "tests").rglob("__init__.py")]
    assert shadowing == []


def test_the_core_imports_only_itself_numpy_and_the_standard_library() -> None:
    allowed = {"headway_core", "numpy"} | sys.stdlib_module_names
    foreign = []
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [name.name for name in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            foreign += [(path.name, m) for m in modules if m.partition(".")[0] not in allowed]
    assert foreign == []


def test_the_core_never_calls_the_salted_hash() -> None:
    calls = [
        f"{path.name}:{node.lineno}"
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
    ]
    assert calls == []


def test_modules_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT))
        for path in _modules()
        if len(path.read_text().splitlines()) > 250
    }
    assert long == LONG_MODULES.keys()


@pytest.mark.parametrize("package", ["crds/headway_api", "router/headway_core", "sim/headway_sim"])
def test_every_module_says_what_it_is(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if (tree := ast.parse(path.read_text())).body and not ast.get_docstring(tree)
    ]
    assert silent == []
