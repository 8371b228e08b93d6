"""``headway crds``: writes the CustomResourceDefinitions, or says whether files are up to date."""

import argparse
import sys
from pathlib import Path

from headway_api import definitions


def main(arguments: list[str]) -> int:
    """0: written, or up to date.  1: not up to date, a line for each file.  2: no such folder."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        print(f"headway crds: {folder} {what}", file=sys.stderr)
        return 2
    stale = False
    for name, text in definitions.files():
        path = folder / name
        if options.action == "generate":
            path.write_text(text, encoding="utf-8")
        elif not path.is_file():
            stale = True
            print(f"{path} is missing: headway crds generate {folder}")
        elif path.read_text(encoding="utf-8") != text:
            stale = True
            print(f"{path} is not what the types say: headway crds generate {folder}")
    return 1 if stale else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway crds",
        description="The CustomResourceDefinitions of ModelPool and RoutingPolicy, as YAML files.",
    )
    parser.add_argument(
        "action",
        choices=["generate", "check"],
        help="write the files, or compare those that are there",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files are: crds/")
    return parser
