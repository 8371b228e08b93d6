"""Logs are events with fields: one JSON object per line on stderr.

    log.info("policy.applied", extra={"pools": 2})

gives ``{"time": "2026-01-31T12:00:00.000Z", "level": "info", "event": "policy.applied",
"logger": "headway_router.app", "pid": 7, "pools": 2}``.  INFO is a change of state; what happens
once per request is DEBUG.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Attributes given as ``extra`` become fields; what JSON cannot hold is written as text."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        line |= {k: v for k, v in vars(record).items() if k not in _OWN_ATTRIBUTES}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Every logger of the process writes JSON lines from ``level`` up.

    Libraries are quieter: aiohttp's access log and grpc say nothing below WARNING.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, _number(level)))
    logging.getLogger("headway_router").setLevel(_number(level))


def _number(level: str) -> int:
    """Raises: ValueError for a level that is not in ``LEVELS``."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r}; one of {', '.join(LEVELS)}")
    return logging.getLevelNamesMapping()[level.upper()]
