import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from headway_router import logs


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("headway_router")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    log = logging.getLogger("headway_router.example")
    log.info("policy.applied", extra={"pools": 2, "names": ["a\nb"], "path": io})
    (line,) = _lines(stream)
    assert line.pop("time").endswith("Z")
    assert line.pop("path").startswith("<module 'io'")
    assert line == {
        "level": "info",
        "event": "policy.applied",
        "logger": "headway_router.example",
        "pid": os.getpid(),
        "pools": 2,
        "names": ["a\nb"],
    }


def test_an_exception_keeps_its_traceback_on_the_same_line() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    try:
        int("lost")
    except ValueError:
        logging.getLogger("headway_router").exception("router.failed")
    (line,) = _lines(stream)
    assert line["level"] == "error"
    assert "ValueError: invalid literal" in line["traceback"]


def test_debug_shows_what_happens_per_request_and_libraries_stay_quiet() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    logging.getLogger("headway_router.dispatch").debug("request.placed")
    logging.getLogger("aiohttp.access").info("GET /")
    assert [line["event"] for line in _lines(stream)] == ["request.placed"]


def test_info_hides_what_happens_per_request() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("headway_router.dispatch").debug("request.placed")
    assert _lines(stream) == []


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="one of debug, info, warning, error"):
        logs.configure("loud")
