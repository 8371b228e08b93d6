"""Reads the subcommand."""

import argparse
import sys

from headway_cli.profile import calibrate, check, compilation, listing, stock
from headway_sim.errors import SimulatorError


def main(arguments: list[str]) -> int:
    """0: done.  1: a check has failed.  2: a flag or a file is not usable."""
    given = parser().parse_args(arguments)
    try:
        code: int = given.run(given)
    except SimulatorError as error:
        print(f"headway profile {given.subcommand}: {error}", file=sys.stderr)
        return 2
    return code


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway profile", description="Step times of engines: what they are, and how good."
    )
    subcommands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for module in (calibrate, check, compilation, listing, stock):
        module.add_to(subcommands)
    return parser
