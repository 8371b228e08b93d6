"""``headway router``: the endpoint picker, until it is told to stop."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from headway_api import InvalidDocuments
from headway_cli import router_processes
from headway_router import logs
from headway_router.errors import BadCertificate, CannotListen, CannotWrite, InvalidSettings
from headway_router.settings import Settings, parse

if TYPE_CHECKING:
    from headway_router.ports import Ports


def main(arguments: list[str]) -> int:
    """0: drained.  1: a part of the router failed.  2: the user must act."""
    try:
        settings = parse(arguments, os.environ)
    except InvalidSettings as error:
        return _refuse(error.problems)
    logs.configure(settings.log_level)
    if settings.processes > 1:
        return asyncio.run(router_processes.run(settings, arguments))
    return _route(settings)


def _route(settings: Settings) -> int:
    """Imports what the parent of several processes does not need."""
    import uvloop
    from prometheus_client import disable_created_metrics

    from headway_router import app

    disable_created_metrics()  # type: ignore[no-untyped-call]  # its package left it so
    try:
        uvloop.run(app.run(settings, _print_ready))
    except InvalidDocuments as error:
        return _refuse(error.problems)
    except (BadCertificate, CannotListen, CannotWrite) as error:
        return _refuse([error])
    except Exception:
        logging.getLogger("headway_router").exception("router.crashed")
        return 1
    return 0


def _print_ready(ports: "Ports") -> None:
    """One line on standard output for whoever started the process; logs go to standard error."""
    print(json.dumps({"event": "router.ready", **asdict(ports)}), flush=True)


def _refuse(problems: Iterable[object]) -> int:
    for problem in problems:
        print(f"headway router: {problem}", file=sys.stderr)
    return 2
