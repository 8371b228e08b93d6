"""``make bench``: prints the figures that the README quotes.  Asserts nothing: machines are noisy.

python -m benchmarks [exchange] [phases] [memory] [--quick] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import exchange, memory, phases
from benchmarks.dualmap import command as dualmap
from benchmarks.machine import describe


def main() -> int:
    if sys.argv[1:2] == ["dualmap"]:
        return dualmap.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    names = ("exchange", "phases", "memory")
    parser.add_argument("what", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    given = parser.parse_args()
    if unknown := set(given.what) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; one of {', '.join(names)}")
    chosen = given.what or names
    print(f"machine: {describe()}\n")
    results: dict[str, Any] = {"machine": describe()}
    if "exchange" in chosen:
        results["exchange"] = asyncio.run(exchange.measure(quick=given.quick))
    if "phases" in chosen:
        results["phases"] = phases.measure(quick=given.quick)
    if "memory" in chosen:
        results["memory"] = memory.measure()
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
