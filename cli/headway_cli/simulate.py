"""``headway simulate``: one scenario, one run, one table."""

import argparse
import json
import sys
from pathlib import Path

from headway_cli.simulation_table import rows
from headway_sim.decision_log import replay
from headway_sim.errors import SimulatorError
from headway_sim.perfetto import write_trace
from headway_sim.report import simulate
from headway_sim.request_table import write_csv
from headway_sim.scenario import load
from headway_sim.scenario.faults import endpoint_name

MAX_DIFFERENCES = 10
"""So many are printed."""


def main(arguments: list[str]) -> int:
    """0: it ran.  1: a replay differs.  2: a flag, the scenario or its file is not usable."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.scenario is None) == (given.replay is None):
        parser.error("give either a SCENARIO.yaml or --replay FILE")
    if given.replay is not None:
        return _replay(given.replay)
    for path in (given.json, given.csv, given.perfetto):
        if path is not None and not path.absolute().parent.is_dir():
            print(f"headway simulate: no such folder: {path.absolute().parent}", file=sys.stderr)
            return 2
    try:
        scenario = load(given.scenario)
        if given.seed is not None:
            scenario = scenario.with_seed(given.seed)
        report, run = simulate(scenario)
    except SimulatorError as error:
        print(f"headway simulate: {error}", file=sys.stderr)
        return 2
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    if given.csv is not None:
        with given.csv.open("w", encoding="utf-8") as file:
            write_csv(run.records, file)
    if given.perfetto is not None:
        endpoints = (e for pool in scenario.fleet.pools for e in pool.endpoints)
        names = {endpoint.endpoint_id: endpoint_name(endpoint) for endpoint in endpoints}
        with given.perfetto.open("w", encoding="utf-8") as file:
            write_trace(run.records, names, file)
    for row in rows(report):
        print(row)
    return 0


def _replay(path: Path) -> int:
    """0: answered as it was.  1: otherwise.  2: no log to replay."""
    try:
        calls, differences = replay(path)
    except SimulatorError as error:
        print(f"headway simulate: {error}", file=sys.stderr)
        return 2
    for difference in differences[:MAX_DIFFERENCES]:
        call = difference.call
        print(f"call {difference.number}, {call.name} at {call.at_s:.6f} s:")
        print(f"  was      {call.outcomes}\n  would be {difference.answers}")
    print(f"{calls} calls, {len(differences)} answered otherwise")
    return 1 if differences else 0


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{seed} is negative")
    return seed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway simulate",
        description="Run the router core, or a baseline, against simulated engines.",
    )
    parser.add_argument("scenario", type=Path, nargs="?", metavar="SCENARIO.yaml")
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="instead: a router's complete decision log, through a core of its own",
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="instead of the scenario's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a line per request here")
    parser.add_argument(
        "--perfetto", type=Path, metavar="FILE", help="write a trace for ui.perfetto.dev here"
    )
    return parser
