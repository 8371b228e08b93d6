"""``python -m benchmarks dualmap``: fills what is missing of the experiment, and writes its page.

python -m benchmarks dualmap [PART ...] [--seeds N] [--jobs N] [--out FOLDER] [--quick]
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.dualmap import beds, experiment, page
from benchmarks.dualmap.lab import Lab
from headway_cli.compare.store import default_folder
from headway_sim.errors import SimulatorError

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """0: complete.  2: a trace is missing, or a part is unknown.  130: interrupted."""
    given = _parser().parse_args(arguments)
    size = experiment.QUICK if given.quick else experiment.Size(seeds=given.seeds)
    folder = ROOT / "examples" / "simulate" if given.quick else beds.data_folder()
    known = (experiment.quick if given.quick else experiment.full)(folder, size)
    if unknown := set(given.parts) - set(known):
        return _refused(f"no part {', '.join(sorted(unknown))}; one of {', '.join(known)}")
    given.out.mkdir(parents=True, exist_ok=True)
    lab = Lab(default_folder().parent / "dualmap", given.jobs, _say)
    kept = given.out / "dualmap.json"
    results = _read(kept)
    try:
        for name in given.parts or known:
            _say(f"-- {name}")
            started_s = monotonic()
            results[name] = known[name](lab)
            _say(f"-- {name}: {monotonic() - started_s:.0f} s")
            kept.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    except SimulatorError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from here")
        return 130
    for file, text in page.files(results, known).items():
        (given.out / file).write_text(text)
    return 0


def _read(kept: Path) -> dict[str, Any]:
    try:
        found = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refused(message: str) -> int:
    print(f"benchmarks dualmap: {message}", file=sys.stderr)
    return 2


def _at_least_1(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks dualmap", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all that there are")
    parser.add_argument("--quick", action="store_true", help="a small form, on a made-up trace")
    count: Callable[[str], int] = _at_least_1
    parser.add_argument("--seeds", type=count, default=5, help="tie seeds (default: 5)")
    parser.add_argument("--jobs", type=count, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "dualmap", help="default: docs/dualmap"
    )
    return parser
