"""``headway profile check``: predictions against measured runs."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from headway_sim.errors import InvalidLog
from headway_sim.validation.check import Checked, Gate, check, read_all
from headway_sim.validation.run import METRICS

_LEFT_OUT = (
    "left out: runs in which requests failed (overload), and Llama-2-7B, whose multi-head attention"
    " no table covers"
)


def add_to(subcommands: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "check",
        help="replay measured runs",
        description="Replay the calibration runs through the engine model, with constants that were"
        " fitted on the runs of another model.",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows here")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise InvalidLog(given.json, "its folder does not exist")
    found = check(read_all(given.data), _say)
    for line in _lines(found):
        print(line)
    if given.json is not None:
        rows = [row.plain() for row in found.rows]
        given.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 0 if found.holds else 1


def _lines(found: Checked) -> list[str]:
    lines = []
    for fold, constants in found.constants.items():
        lines.append(
            f"fitted on {fold}: {constants.step_ms:.2f} ms per step,"
            f" {constants.api_ms:.1f} ms in the API"
        )
        lines.append(f"  {'run':<44}{'stage':<14}" + "".join(f"{name:>26}" for name in METRICS))
        stages = dict.fromkeys((row.run, row.stage) for row in found.rows)
        for run_name, stage in stages:
            of = [r for r in found.rows if (r.fold, r.run, r.stage) == (fold, run_name, stage)]
            cells = "".join(
                f"{1e3 * row.predicted:>9.1f}/{1e3 * row.measured:>8.1f}{100 * row.error:>+6.1f} %"
                for row in of
            )
            mark = "fitted" if of[0].fitted else ""
            lines.append(f"  {run_name:<44}{stage:<7}{mark:<7}{cells}")
        lines.append("")
    lines.append("predicted / measured in ms; TPOT: (E2E - TTFT) / (output tokens - 1)")
    lines.append(_LEFT_OUT)
    lines.extend(map(_verdict, found.gates))
    return lines


def _verdict(gate: Gate) -> str:
    verdict = "holds" if gate.holds else "FAILS"
    return (
        f"  {verdict}  {gate.metric} of {gate.model}, fitted on {gate.fold}:"
        f" median |error| {100 * gate.median:.1f} % of {gate.stages} stages"
        f" (worst {100 * gate.worst:+.1f} %), allowed {100 * gate.allowed:.0f} %"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
