"""``headway router``: the endpoint picker, until it is told to stop."""

import json
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict

import uvloop
from prometheus_client import disable_created_metrics

from headway_api import InvalidDocuments
from headway_router import app, logs
from headway_router.errors import CannotListen, InvalidSettings
from headway_router.settings import parse


def main(arguments: list[str]) -> int:
    """0: drained.  1: a part of the router failed.  2: the user must act."""
    try:
        settings = parse(arguments, os.environ)
    except InvalidSettings as error:
        return _refuse(error.problems)
    logs.configure(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # its package left it so
    try:
        uvloop.run(app.run(settings, _print_ready))
    except InvalidDocuments as error:
        return _refuse(error.problems)
    except CannotListen as error:
        return _refuse([error])
    except Exception:
        logging.getLogger("headway_router").exception("router.crashed")
        return 1
    return 0


def _print_ready(ports: app.Ports) -> None:
    """One line on standard output for whoever started the process; logs go to standard error."""
    print(json.dumps({"event": "router.ready", **asdict(ports)}), flush=True)


def _refuse(problems: Iterable[object]) -> int:
    for problem in problems:
        print(f"headway router: {problem}", file=sys.stderr)
    return 2
