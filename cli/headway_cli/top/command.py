"""Looks at the debug ports again and again, and draws what they say."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from urllib.request import urlopen

from rich.console import Console
from rich.live import Live

from headway_cli.top.sums import Page, add_up
from headway_cli.top.view import Look, drawn
from headway_router.settings import LOOPBACK, Settings

TIMEOUT_S = 2.0
_DEFAULT_ROUTER = f"{LOOPBACK}:{Settings.model_fields['debug_port'].default}"


def main(arguments: list[str]) -> int:
    """0: looked at.  1: no router answered the one look that was asked for."""
    given = _parser().parse_args(arguments)
    routers = given.router or [_DEFAULT_ROUTER]
    if given.once:
        look = look_at(routers)
        Console().print(drawn(look, None))
        return 0 if look.routers else 1
    try:
        _watch(routers, given.interval)
    except KeyboardInterrupt:
        return 0
    return 0


def look_at(routers: Sequence[str]) -> Look:
    pages: list[Page] = []
    problems = []
    for address in routers:
        try:
            with urlopen(f"http://{address}/debug", timeout=TIMEOUT_S) as response:
                pages.append(json.load(response))
        except (OSError, ValueError) as error:
            problems.append(f"router {address} does not answer: {error}")
    return Look(time.monotonic(), add_up(pages), len(pages), problems)


def _watch(routers: Sequence[str], interval_s: float) -> None:
    before: Look | None = None
    with Live(console=Console(file=sys.stdout), screen=True, auto_refresh=False) as live:
        while True:
            now = look_at(routers)
            live.update(drawn(now, before), refresh=True)
            before = now
            time.sleep(interval_s)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not in 0.1..3600")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway top",
        description="Pools, engines, queues and hit shares of running routers, as they change.",
    )
    parser.add_argument(
        "--router",
        action="append",
        metavar="ADDR",
        help=f"debug port of a router, once for each (default: {_DEFAULT_ROUTER})",
    )
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS")
    parser.add_argument("--once", action="store_true", help="one look, then end")
    return parser
