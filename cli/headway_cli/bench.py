"""``headway bench``: how fast the simulator is on this machine."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

from headway_sim.engine import Engine
from headway_sim.errors import SimulatorError
from headway_sim.fast_forward import FastEngine
from headway_sim.profiles import profile
from headway_sim.scenario.scenario import PRODUCTION
from headway_sim.speed import (
    PROFILE,
    RECORDED_ENGINES,
    SpeedCase,
    arrivals,
    drive,
    engine_config,
    requests_of,
    world,
)

CASES = (
    SpeedCase(policy="round-robin"),
    SpeedCase(policy=PRODUCTION),
    SpeedCase(policy="round-robin", block_tokens=16),
    SpeedCase(policy="round-robin", engines=512, repeats=3),
    SpeedCase(policy=PRODUCTION, engines=512, repeats=3),
)


def main(arguments: list[str]) -> int:
    """0: it ran.  2: the trace, or a flag is not usable."""
    given = _parser().parse_args(arguments)
    if given.json is not None and not given.json.absolute().parent.is_dir():
        print(f"headway bench: no such folder: {given.json.absolute().parent}", file=sys.stderr)
        return 2
    try:
        requests_of(given.trace)
    except SimulatorError as error:
        print(f"headway bench: {error}", file=sys.stderr)
        return 2
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'policy':<14}{'engines':>8}{'block':>7}{'requests/s':>12}{'peak MiB':>10}")
    rows = []
    for case in CASES:
        row = _alone(partial(measure, case, given.trace, given.requests))
        rows.append(row)
        print(
            f"{case.policy:<14}{case.engines:>8}{case.block_tokens:>7}"
            f"{row['requests_per_s']:>12,.0f}{row['peak_rss_mib']:>10,.0f}"
        )
    speedup = _alone(partial(fast_to_literal, given.trace, given.requests))
    ratios = {
        "fast_forward_to_literal": speedup,
        "headway_to_round_robin": rows[1]["requests_per_s"] / rows[0]["requests_per_s"],
        "512_engines_to_8": rows[3]["requests_per_s"] / rows[0]["requests_per_s"],
    }
    for name, ratio in ratios.items():
        print(f"{name.replace('_', ' '):<30}{ratio:>10.2f}")
    if given.json is not None:
        text = json.dumps({"rows": rows, "ratios": ratios}, indent=2, sort_keys=True)
        given.json.write_text(text + "\n")
    return 0


def measure(case: SpeedCase, trace: Path, requests: int | None) -> dict[str, Any]:
    """One run, in CPU time; reading the trace and building the world are not counted."""
    coming = requests_of(trace, requests)
    ready = world(case, trace, coming)
    began_s = time.process_time()
    run = ready.run()
    took_s = time.process_time() - began_s
    return {
        "policy": case.policy,
        "engines": case.engines,
        "block_tokens": case.block_tokens,
        "requests_per_s": len(run.records) / took_s,
        "peak_rss_mib": getrusage(RUSAGE_SELF).ru_maxrss / 1024,
    }


def fast_to_literal(trace: Path, requests: int | None) -> float:
    """Requests per second of the fast engine over those of the literal one: an eighth of the
    trace, straight into the engine."""
    block_tokens = CASES[0].block_tokens
    config, model = engine_config(block_tokens), profile(PROFILE).step_model
    coming = arrivals(requests_of(trace, requests)[::RECORDED_ENGINES], block_tokens)
    seconds = []
    for engine in (
        Engine(config, model),
        FastEngine(config, model, tells_of_cache=False),
    ):
        began_s = time.process_time()
        drive(engine, coming)
        seconds.append(time.process_time() - began_s)
    literal_s, fast_s = seconds
    return literal_s / fast_s


def _alone(task: Callable[[], Any]) -> Any:
    """In a process of its own, so that its peak of memory is its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as processes:
        return processes.submit(task).result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway bench", description="Measure the simulator on this machine."
    )
    parser.add_argument("what", choices=["simulator"])
    parser.add_argument(
        "--trace", type=Path, required=True, metavar="FILE", help="in Mooncake's format"
    )
    parser.add_argument("--requests", type=_positive, metavar="N", help="only the first N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
