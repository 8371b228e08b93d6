"""What of YAML is understood, what is refused, and on which line things stand."""

from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import headway_api.yaml_tree
from headway_api import InvalidDocuments, read
from headway_api.nodes import Path, find, line_of, plain
from headway_api.yaml_tree import MAX_NODES, Tree, Unreadable, read_trees

Change = Callable[..., str]
Problems = Callable[..., list[str]]


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers: libyaml's, and the one of an installation without it."""
    name: str = request.param
    if not hasattr(yaml, name):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(headway_api.yaml_tree, "_LOADER", getattr(yaml, name))
    return name


def one(text: str) -> Tree:
    [tree] = read_trees(text)
    return tree


TEXT = """\
# comment
a: 1
b:
  c:
    - x
    - y: 2
      z: 3
  d: {e: 4,
      f: 5}
g: >
  folded
  text
h:
  below
"""


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("a",), 2),
        (("b",), 3),
        (("b", "c"), 4),
        (("b", "c", 0), 5),
        (("b", "c", 1), 6),
        (("b", "c", 1, "z"), 7),
        (("b", "c", 1, "missing"), 6),
        (("b", "c", 7), 4),
        (("b", "d", "e"), 8),
        (("b", "d", "f"), 9),
        (("g",), 10),
        (("h",), 14),
        (("missing", "too"), 2),
    ],
)
def test_a_path_leads_to_the_line_to_look_at(path: Path, line: int) -> None:
    assert line_of(one(TEXT).root, path) == line


@pytest.mark.usefixtures("loader")
def test_documents_keep_the_lines_of_the_file() -> None:
    trees = list(read_trees("---\na: 1\n---\n# nothing\n---\nb: 2\n"))
    assert [plain(tree.root) for tree in trees] == [{"a": 1}, None, {"b": 2}]
    assert line_of(trees[2].root, ("b",)) == 6


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("1.5", 1.5),
        ("2024-01-31", "2024-01-31"),
        ("yes", True),
        ("off", False),
        ("True", True),
        ("'off'", "off"),
        ("~", None),
        ("", None),
        ("y", "y"),
        ("1e3", "1e3"),
        ("!!str 5", "5"),
        ("v1.2.3", "v1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("=", "="),
        ('"\\u00fc"', "ü"),
    ],
)
def test_a_plain_word_means_what_yaml_says(text: str, value: object) -> None:
    tree = one(f"a: {text}\n")
    assert (plain(tree.root), tree.findings) == ({"a": value}, ())


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    "text", ["0777", "0x1F", "0b1", "1_000", "12:30", "9" * 20, "1" + "0" * 9999]
)
def test_a_number_that_versions_of_yaml_read_differently_is_refused(text: str) -> None:
    [finding] = one(f"a:\n  b: {text}\n").findings
    assert (finding.path, finding.line) == (("a", "b"), 2)
    assert "a number that YAML versions read differently" in finding.problem


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "written twice, first in line 1"),
        ("a:\n  off: 1\n", 2, "'off' as the name of a field is a boolean in YAML"),
        ("a:\n  1: 1\n", 2, "'1' as the name of a field is a number in YAML"),
        ("a:\n  ? [b]\n  : 1\n", 2, "a list or mapping as the name of a field"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys (<<) are not supported"),
        ("a: !mine 1\n", 1, "the tag '!mine' is not supported"),
        ("a: !!python/object:os.system {}\n", 1, "the tag 'tag:yaml.org,2002:python/obj"),
        ("a: !%0Ab 1\n", 1, r"the tag '!\nb' is not supported"),
        ("a:\n  - !!set {b}\n", 2, "the tag 'tag:yaml.org,2002:set' is not supported"),
    ],
)
def test_what_surprises_is_refused_and_the_rest_is_read(text: str, line: int, problem: str) -> None:
    [finding] = one(text).findings
    assert finding.line == line
    assert finding.problem.startswith(problem)
    assert finding.allowed


@pytest.mark.usefixtures("loader")
def test_the_first_of_two_values_counts_until_one_is_removed() -> None:
    assert plain(one("a: 1\na: 2\n").root) == {"a": 1}


@pytest.mark.usefixtures("loader")
def test_an_alias_stands_for_its_anchor_and_for_its_line() -> None:
    tree = one("a: &x\n  b: 7\nc: *x\n")
    assert plain(tree.root) == {"a": {"b": 7}, "c": {"b": 7}}
    assert line_of(tree.root, ("c", "b")) == 2
    assert line_of(tree.root, ("c",)) == 3


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 600))


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "too many values"),
        ("[" * 50_000, "nest"),
        ("{a: " * 50_000, "nest"),
        ("? " * 50_000 + "a", "nest"),
        ("{[]: " * 50_000, "nest"),
        (CHAIN, "nest"),
        ("a: &x [*x]\n", "contains itself"),
    ],
    ids=["aliases of aliases", "lists", "mappings", "keys", "keyed by lists", "chain", "cycle"],
)
def test_text_that_would_grow_without_bound_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as caught:
        list(read_trees(text))
    assert problem in caught.value.finding.problem


def test_the_bound_on_values_is_far_above_any_configuration() -> None:
    most = "".join(f"- {{name: e{i}, address: 10.0.0.1, port: 1}}\n" for i in range(4096))
    assert one(most).root.size < MAX_NODES / 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n  b: 2\n", 2),
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a:\n\tb: 1\n", 2),
        ("a: 'open\n", 1),
        ("a: *nothing\n", 1),
        ("a: 1\n\x00\n", 2),
        ("a: 1\nb: \x1b[31m\n", 2),
        ("a: @x\n", 1),
        ("%YAML 9.9\n---\na: 1\n", 1),
    ],
)
def test_text_that_is_no_yaml_says_where(text: str, line: int, problems: Problems) -> None:
    [problem] = problems(text)
    assert problem.startswith(f"f.yaml:{line}: ")


def test_documents_before_the_unreadable_one_are_still_checked(
    demo: Change, problems: Problems
) -> None:
    found = problems(demo("port: 8001", "port: 0") + "---\n{{{\n")
    assert [problem.partition(": ")[0] for problem in found] == ["f.yaml:13", "f.yaml:24"]


def test_text_is_utf_8_with_or_without_a_mark() -> None:
    with pytest.raises(InvalidDocuments) as caught:
        read({"f.yaml": "a: 1\nb: ü\n".encode("latin-1")}, origin="test")
    assert str(caught.value) == "f.yaml:2: is not text; allowed: UTF-8"
    with pytest.raises(InvalidDocuments) as caught:
        read({"f.yaml": "﻿kind: Ü\n".encode()}, origin="test")
    assert "f.yaml:1: kind: 'Ü' is not a kind" in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    tree = one(yaml.safe_dump(value))
    assert plain(tree.root) == value
    assert find(tree.root, ()) is tree.root
