"""The flags of ``headway demo``, checked before anything starts."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headway_cli.demo.errors import InvalidOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    seed: int
    minutes: float
    """Wall time of each arm, while requests are sent."""
    trace: Path | None
    """None: the built-in multi-turn workload."""
    json: Path | None
    stay: bool


def parse(arguments: Sequence[str]) -> Settings:
    """Raises:
    InvalidOptions: naming the flag.
    SystemExit: for ``--help`` and for an unknown flag, as argparse does.
    """
    given = _parser().parse_args(arguments)
    if not 0 < given.minutes < math.inf:
        raise InvalidOptions(f"--minutes: {given.minutes:g} is not a positive number")
    if given.trace is not None and not given.trace.is_file():
        raise InvalidOptions(f"--trace: no such file: {given.trace}")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise InvalidOptions(f"--json: no such folder: {given.json.absolute().parent}")
    return Settings(**vars(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway demo",
        description="Route one workload twice through Envoy to four simulated engines of two"
        " kinds: first by Envoy's round robin, then by Headway.",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the workload (default: 1)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=1.0,
        metavar="N",
        help="how long each of the two runs sends requests, on your clock (default: 1)",
    )
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="replay this trace (Mooncake's format, .jsonl or .jsonl.gz) instead of the built-in"
        " conversations",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    parser.add_argument(
        "--stay",
        action="store_true",
        help="keep router, Envoy and engines running afterwards, until Ctrl-C",
    )
    return parser
