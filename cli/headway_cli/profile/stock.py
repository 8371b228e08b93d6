"""``headway profile stock``: makes the profiles that come with the package."""

import argparse
from pathlib import Path
from typing import Any

from headway_sim.profiles.compile import open_tables
from headway_sim.profiles.compile.stock import stock
from headway_sim.profiles.library import FOLDER, file_name
from headway_sim.profiles.versions import version


def add_to(subcommands: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "stock",
        help="make the profiles that come with the package",
        description="Make the profiles that come with the package, from tables of one version.",
    )
    parser.add_argument("--vllm", required=True, metavar="VERSION", help="of the tables")
    parser.add_argument("--tables", type=Path, metavar="PATH", help="as for compile")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    FOLDER.mkdir(exist_ok=True)
    for made in stock(open_tables(given.tables), version(given.vllm)):
        path = FOLDER / file_name(made)
        made.write(path)
        print(path.name)
    return 0
