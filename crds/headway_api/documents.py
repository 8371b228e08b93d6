"""From YAML text to resources that know where they were written."""

from dataclasses import dataclass

from pydantic import ValidationError

from headway_api.allowed import one_of
from headway_api.errors import Problem
from headway_api.model_pool import ModelPool
from headway_api.nodes import Finding, MapNode, Node, Path, ScalarNode, find, line_of, plain
from headway_api.routing_policy import RoutingPolicy
from headway_api.schema_findings import findings_of, shown, suggestion
from headway_api.v1alpha1 import API_VERSION, KINDS
from headway_api.yaml_tree import Tree, Unreadable, read_trees


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One resource.  ``root`` is its text; None: it was never text, so problems have no line."""

    resource: ModelPool | RoutingPolicy
    file: str
    root: Node | None = None

    def problem(self, path: Path, problem: str, allowed: str | None = None) -> Problem:
        line = None if self.root is None else line_of(self.root, path)
        return Finding(path, line, problem, allowed).of(self.file)

    def place(self, path: Path) -> str:
        """``pools.yaml:7``, for a message about something else."""
        return self.file if self.root is None else f"{self.file}:{line_of(self.root, path)}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one text holds.

    ``broken`` are the keys (``namespace/name``) of resources that are written but have problems;
    ``complete`` is False where even those are not known.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    broken: frozenset[str] = frozenset()
    complete: bool = True


def parse(file: str, text: str) -> Parsed:
    """Every resource of ``text``, and every problem: a broken resource does not hide the next."""
    documents: list[Document] = []
    problems: list[Problem] = []
    broken: set[str] = set()
    complete = True
    try:
        for tree in read_trees(text):
            resource, findings = _resource(tree)
            problems += [finding.of(file) for finding in findings]
            if findings:
                key = _key(tree.root)
                broken |= {key} if key else set()
                complete &= key is not None
            elif resource is not None:
                documents.append(Document(resource=resource, file=file, root=tree.root))
    except Unreadable as error:
        problems.append(error.finding.of(file))
        complete = False
    return Parsed(tuple(documents), tuple(problems), frozenset(broken), complete)


def _resource(tree: Tree) -> tuple[ModelPool | RoutingPolicy | None, list[Finding]]:
    """None without findings: an empty document."""
    root, findings = tree.root, list(tree.findings)
    if isinstance(root, ScalarNode) and root.value is None:
        return None, findings
    if not isinstance(root, MapNode):
        wanted = "a mapping with apiVersion, kind, metadata and spec"
        return None, [*findings, Finding((), root.line, "the document is no mapping", wanted)]
    kind = root.entries.get("kind")
    if not (isinstance(kind, ScalarNode) and isinstance(kind.value, str) and kind.value in KINDS):
        return None, [*findings, *_unknown_kind(root, kind)]
    try:
        return KINDS[kind.value].model_validate(plain(root)), findings
    except ValidationError as error:
        known = {finding.path for finding in findings}
        of_schema = findings_of(error, kind.value, root)
        return None, [*findings, *(f for f in of_schema if f.path not in known)]


def _unknown_kind(root: MapNode, kind: Node | None) -> list[Finding]:
    value = kind.value if isinstance(kind, ScalarNode) else None
    if kind is None or value is None:
        problem = "missing"
    else:
        problem = f"{shown(plain(kind))} is not a kind of {API_VERSION}"
        problem += suggestion(str(value), KINDS)
    return [Finding(("kind",), line_of(root, ("kind",)), problem, one_of(KINDS))]


def _key(root: Node) -> str | None:
    """``namespace/name`` of a resource that has problems; None: that much cannot be read."""
    name, namespace = (find(root, ("metadata", field)) for field in ("name", "namespace"))
    if not (isinstance(name, ScalarNode) and isinstance(name.value, str)):
        return None
    given = namespace.value if isinstance(namespace, ScalarNode) else None
    return f"{given or 'default'}/{name.value}"
