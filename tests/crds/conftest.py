"""Good documents to start from, and the two ways to read them."""

from collections.abc import Callable
from pathlib import Path

import pytest

import headway_api
from headway_api import InvalidDocuments
from headway_core.policy import Fleet

CONFIG = Path(__file__).parent.parent / "fixtures" / "config"

Change = Callable[..., str]
"""``change(old, new, ...)``: the good text with each old text, which occurs once, replaced."""


def _changed(text: str, *pairs: str) -> str:
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text


@pytest.fixture
def serving() -> Change:
    """Two pools with every field, and a policy with every field for the first; one text."""
    folder = CONFIG / "serving"
    text = (folder / "pools.yaml").read_text() + "---\n" + (folder / "policies.yaml").read_text()
    return lambda *pairs: _changed(text, *pairs)


@pytest.fixture
def demo() -> Change:
    """A pool and a policy without anything that has a default; one text."""
    text = (CONFIG / "demo" / "demo.yaml").read_text()
    return lambda *pairs: _changed(text, *pairs)


@pytest.fixture
def compiled() -> Callable[[str], Fleet]:
    return lambda text: headway_api.compile(headway_api.read({"f.yaml": text}, origin="test"))


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Every problem of one text called ``f.yaml``, or of several files; at least one."""

    def read(text: str | None = None, **files: str) -> list[str]:
        named: dict[str, bytes | str] = {f"{name}.yaml": content for name, content in files.items()}
        if text is not None:
            named["f.yaml"] = text
        with pytest.raises(InvalidDocuments) as caught:
            headway_api.read(named, origin="test")
        assert str(caught.value) == "\n".join(map(str, caught.value.problems))
        return [str(problem) for problem in caught.value.problems]

    return read
