"""A whole configuration from its files: every problem of all of them, or the documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from headway_api.documents import Document, parse
from headway_api.errors import InvalidDocuments, Problem
from headway_api.model_pool import ModelPool
from headway_api.rules import check
from headway_api.workload import Workload


def read(
    files: Mapping[str, bytes | str], *, origin: str, problems: Iterable[Problem] = ()
) -> tuple[Document, ...]:
    """The documents of ``files`` (name -> content), in the order of the names.

    Stand-alone, that is: no operator finds endpoints, so all are written down.

    ``origin`` names the whole in messages; ``problems`` were found before, reading the files.

    Raises:
        InvalidDocuments: with every problem: of the text, of the fields, between the resources;
            also if there are no documents at all.
    """
    found = list(problems)
    documents: list[Document] = []
    broken: set[str] = set()
    complete = not found
    for name in sorted(files):
        text = _text(name, files[name])
        if isinstance(text, Problem):
            found.append(text)
            complete = False
            continue
        parsed = parse(name, text)
        documents += parsed.documents
        found += parsed.problems
        broken |= parsed.broken
        complete &= parsed.complete
    if not documents and not found:
        found.append(
            Problem(
                file=origin,
                problem="has no documents",
                allowed="at least one ModelPool in a .yaml or .yml file",
            )
        )
    found += check(documents, broken=frozenset(broken), complete=complete)
    found += _found_by_nobody(documents)
    if found:
        raise InvalidDocuments(found)
    return tuple(documents)


def _found_by_nobody(documents: Sequence[Document]) -> Iterator[Problem]:
    for document in documents:
        if isinstance(pool := document.resource, ModelPool):
            for i, group in enumerate(pool.spec.groups):
                if group.workload is not Workload.STATIC:
                    path = ("spec", "groups", i, "workload")
                    problem = f"{group.workload} needs the operator, which is not there"
                    yield document.problem(path, problem, "Static in stand-alone mode")


def _text(name: str, content: bytes | str) -> str | Problem:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem(file=name, line=line, problem="is not text", allowed="UTF-8")
