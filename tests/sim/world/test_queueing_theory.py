"""An engine with one seat is a queue that theory can solve.

    M/M/1   mean wait = rho / (1 - rho) * s          M/D/1   half of that

The wait is measured in batches of one long run at a fixed seed, so that its standard error is known
although successive waits depend on each other.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from statistics import fmean, stdev

import pytest

from headway_sim.traffic import OpenLoop
from headway_sim.workloads.request import Segment, WorkloadRequest
from headway_sim.world.setting import Scrapes
from headway_sim.world.testing import QUIET, Scripted, a_fleet, an_engine, steps_of
from headway_sim.world.world import World

REQUESTS, WARM_UP, BATCHES = 8_000, 400, 38
MEAN_TOKENS = 1000
PER_TOKEN_S = 0.001


def waits_s(rho: float, tokens: Callable[[Random], int], seed: int) -> list[float]:
    """Seconds from arrival to the start of service, of one request after the other."""
    rng = Random(seed)
    at_s, workload = 0.0, []
    for _ in range(REQUESTS):
        at_s += rng.expovariate(rho / (MEAN_TOKENS * PER_TOKEN_S))
        prompt = (Segment("x", tokens(rng)),)
        workload.append(WorkloadRequest(at_s=at_s, prompt=prompt, output_tokens=1))
    observation = replace(QUIET.observation, scrapes=Scrapes(interval_s=1e6), block_tokens=32_000)
    spec = an_engine(seats=1, model=steps_of(0.0, PER_TOKEN_S), caching=False)
    run = World(
        fleet=a_fleet(["a"]),
        engines={"a": spec},
        traffic=OpenLoop(workload),
        make_picker=Scripted(["a"]).make,
        setting=replace(QUIET, observation=observation),
    ).run()
    return [(r.ttft_s or 0.0) - r.prompt_tokens * PER_TOKEN_S for r in run.records[WARM_UP:]]


def mean_and_error(values: list[float]) -> tuple[float, float]:
    size = len(values) // BATCHES
    means = [fmean(values[i * size : (i + 1) * size]) for i in range(BATCHES)]
    return fmean(means), stdev(means) / BATCHES**0.5


def exponential(rng: Random) -> int:
    return min(31_000, max(1, round(rng.expovariate(1 / MEAN_TOKENS))))


def constant(rng: Random) -> int:
    return MEAN_TOKENS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "share"),
    [pytest.param(exponential, 1.0, id="M/M/1"), pytest.param(constant, 0.5, id="M/D/1")],
)
def test_the_mean_wait_is_that_of_theory(tokens: Callable[[Random], int], share: float) -> None:
    rho = 0.6
    mean_s, error_s = mean_and_error(waits_s(rho, tokens, seed=11))
    theory_s = share * rho / (1 - rho) * MEAN_TOKENS * PER_TOKEN_S
    assert abs(mean_s - theory_s) <= 3 * error_s
    assert error_s < 0.12 * theory_s
