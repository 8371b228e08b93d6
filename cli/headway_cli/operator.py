"""``headway operator``: keeps the workloads of ModelPools, until it is told to stop."""

import asyncio
import json
import logging
import os
import sys

from headway_operator import app
from headway_operator.errors import InvalidSettings
from headway_operator.settings import parse


def main(arguments: list[str]) -> int:
    """0: told to stop.  1: a part of it failed.  2: the user must act."""
    try:
        settings = parse(arguments, os.environ)
        app.configure_logs(settings.log_level)
        asyncio.run(app.run(settings, _print_ready))
    except InvalidSettings as error:
        print(f"headway operator: {error}", file=sys.stderr)
        return 2
    except Exception:
        logging.getLogger("headway_operator").exception("operator.crashed")
        return 1
    return 0


def _print_ready(discovery_port: int) -> None:
    """One line on standard output for whoever started the process; logs go to standard error."""
    print(json.dumps({"event": "operator.ready", "discovery_port": discovery_port}), flush=True)
