"""The reference names every condition, reason and Event of the code, and no others."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml

import headway_operator
from headway_operator import names
from headway_operator.discovery.outcomes import Verdict
from headway_operator.reference import CONDITIONS, EVENTS, POLICY_CONDITIONS
from headway_operator.reference_page import markdown

ROOT = Path(__file__).parents[2]
FOLDER = Path(headway_operator.__file__).parent


def functions() -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def calls(function: ast.AST, name: str) -> Iterator[list[ast.expr]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node.args


def words(expression: ast.expr, function: ast.AST) -> set[str]:
    """What it may be: the texts in it, or in what its name was assigned."""
    if isinstance(expression, ast.Attribute) and expression.attr == "verdict":
        return set(Verdict)
    if isinstance(expression, ast.Name) and hasattr(names, expression.id):
        return {getattr(names, expression.id)}
    if isinstance(expression, ast.Name):
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and [t.id for t in node.targets if isinstance(t, ast.Name)] == [expression.id]
        ]
        return {word for value in assigned for word in words(value, function)}
    if isinstance(expression, ast.IfExp):
        return words(expression.body, function) | words(expression.orelse, function)
    return {str(expression.value)} if isinstance(expression, ast.Constant) else set()


def test_every_reason_of_a_condition_is_there() -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for function in functions():
        for type_, _, reason, *_ in calls(function, "Claim"):
            for name in words(type_, function):
                found[name] |= words(reason, function)
    documented: defaultdict[str, set[str]] = defaultdict(set)
    for conditions in (CONDITIONS, POLICY_CONDITIONS):
        for name, reasons in conditions.items():
            documented[name] |= set(reasons)
    # A verdict may be any, as far as the code tells.
    assert {name: reasons | set(Verdict) for name, reasons in documented.items()} == {
        name: reasons | set(Verdict) for name, reasons in found.items()
    }


def test_every_event_is_there() -> None:
    found = {
        reason
        for function in functions()
        for arguments in calls(function, "PoolEvent")
        for reason in words(arguments[1], function)
    }
    as_conditions = set(CONDITIONS["Stalled"]) - {"AsExpected"}
    as_conditions |= {"PolicyConflict", "TargetNotFound"}
    assert found | as_conditions == set(EVENTS)


def test_the_page_is_what_the_tables_say() -> None:
    alerts = yaml.safe_load((ROOT / "helm/headway/files/alerts.yaml").read_text())
    assert (ROOT / "docs/reference.md").read_text() == markdown(alerts), (
        "run: python -m headway_operator.reference_page helm/headway/files/alerts.yaml"
        " > docs/reference.md"
    )
