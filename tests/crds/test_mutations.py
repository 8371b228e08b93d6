"""Whatever is changed in a good document, it compiles or has problems that say where."""

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import headway_api
from headway_api import InvalidDocuments, Problem

CONFIG = Path(__file__).parent.parent / "fixtures" / "config"
TEXT = "---\n".join(path.read_text() for path in sorted((CONFIG / "serving").iterdir()))
DOCUMENTS = list(yaml.safe_load_all(TEXT))
"""Two pools and the policy of the first."""

WORDS = [
    "off", "yes", "~", "0x1F", "1_000", "-1", "1.5", ".nan", "9" * 20, "''", "[]", "{}", "[a, b]",
    "{a: b}", "*x", "&x 1", "!!binary aGk=", "!x y", "|\n  text", "'", '"', "{", ":", "\t", "<<",
    "Static", "Both", "Pair", "10.0.0.1", "fd00::1", "\ud800", "\x07", "---", "Ü" * 300,
]  # fmt: skip


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    """Empty: it compiles."""
    try:
        headway_api.compile(headway_api.read({"f.yaml": text}, origin="test"))
    except InvalidDocuments as error:
        return error.problems
    return ()


def check(text: str) -> None:
    for problem in problems_of(text):
        if problem.file == "test":
            assert problem.problem == "has no documents"
            continue
        assert problem.line is not None
        assert 1 <= problem.line <= max(1, len(text.splitlines()))
        assert len(str(problem).splitlines()) == 1
        assert str(problem).encode()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_word_in_place_of_another(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    word = data.draw(st.sampled_from(WORDS) | st.text(max_size=12))
    key, colon, _ = lines[at].partition(":")
    lines[at] = data.draw(st.sampled_from([f"{key}{colon} {word}", f"{word}: {key.strip()}", word]))
    check("\n".join(lines))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_piece_cut_out_or_repeated(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 80)))
    check(TEXT[:start] + TEXT[end:])
    check(TEXT[:end] + TEXT[start:end] + TEXT[end:])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["Static", "h100", "10.0.0.1", "::1", "llama-8b", "serving"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_value_in_place_of_another(data: st.DataObject) -> None:
    document: Any = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    holder, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = data.draw(st.sampled_from(list(keys)))
    holder[key] = data.draw(VALUES)
    check(yaml.safe_dump_all([document, DOCUMENTS[1]]))


@given(st.text() | st.binary())
def test_no_document_comes_about_by_chance(text: str | bytes) -> None:
    assert problems_of(text)
