"""``headway profile list``: what there is."""

import argparse
from typing import Any

from headway_sim.profiles import PROFILE_NAMES
from headway_sim.profiles.library import stored
from headway_sim.profiles.versions import text_of


def add_to(subcommands: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "list",
        help="the ready-made profiles",
        description="The ready-made profiles, and the vLLM versions of their operator tables.",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    del given
    for name in PROFILE_NAMES:
        versions = ", ".join(map(text_of, sorted(stored().get(name, {}))))
        print(f"{name:<40}{versions}".rstrip())
    return 0
