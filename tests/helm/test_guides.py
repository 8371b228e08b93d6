"""The pools in the guides are pools."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway_api.documents import parse
from helm_cli import CHART

DOCS = CHART.parents[1] / "docs"


def pools(path: Path) -> Iterator[dict[str, Any]]:
    """Those of the indented blocks; a list of groups is one within the pool before it."""
    blocks = [b for b in path.read_text().split("\n\n") if b.startswith("    ") or "\n    " in b]
    for block in blocks:
        text = textwrap.dedent("\n".join(line for line in block.splitlines() if line[:1] == " "))
        if "kind: ModelPool" in text:
            start = text.index("apiVersion: headway.dev")
            yield yaml.safe_load(text[start:].partition("\nYAML")[0])


def groups(path: Path) -> Iterator[list[Any]]:
    for block in path.read_text().split("\n\n"):
        text = textwrap.dedent(block)
        if text.startswith("groups:"):
            yield yaml.safe_load(text)["groups"]


GUIDES = [path for path in sorted(DOCS.glob("*.md")) if "kind: ModelPool" in path.read_text()]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_pools_of_a_guide_are_accepted(path: Path) -> None:
    found = list(pools(path))
    assert found
    found += [{**found[0], "spec": {**found[0]["spec"], "groups": g}} for g in groups(path)]
    for pool in found:
        assert parse(path.name, yaml.safe_dump(pool)).problems == ()
