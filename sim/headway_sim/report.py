"""A run in numbers: latencies, goodput, caches, engines; plain values, ready for JSON.

    attainment = requests within their SLO / arrivals        shed and failed ones are missed
    goodput    = attainment * delivered rate                 requests per second within their SLO
    slowdown   = TTFT / TTFT of the same prompt, uncached, alone on the fastest kind of engine

Percentiles are of finished requests (of shed ones there is no latency) and interpolate linearly.
Warm-up requests are in no figure but ``engines``, which counts the whole run.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import floor, inf
from typing import Any

from headway_core.facts import EndpointId, Slo
from headway_sim.scenario.faults import endpoint_name
from headway_sim.scenario.scenario import Scenario
from headway_sim.world.hosts import EngineSpec, Host
from headway_sim.world.records import Fate, RequestRecord
from headway_sim.world.world import Run

Report = dict[str, Any]

PERCENTILES = (50, 90, 95, 99)
BUCKETS = (1_000, 2_500, 5_000, 10_000, 20_000, 50_000)
"""Upper bounds of prompt lengths, in tokens."""


def simulate(scenario: Scenario) -> tuple[Report, Run]:
    """Raises: InvalidScenario, InvalidTrace, BrokenLaw."""
    world = scenario.world()
    run = world.run(scenario.until_s)
    return report(scenario, run, world.hosts), run


def report(scenario: Scenario, run: Run, hosts: Mapping[EndpointId, Host]) -> Report:
    records = run.records[scenario.workload.warm_up_requests :]
    judge = _Judge(scenario.target(), scenario.tpot_slo_s)
    finished = [r for r in records if r.fate is Fate.FINISHED]
    fates = Counter(r.fate for r in records)
    span_s = (records[-1].arrived_ns - records[0].arrived_ns) / 1e9 if records else 0.0
    rate_per_s = (len(records) - 1) / span_s if span_s else None
    attainment = None
    if judge.judges:
        attainment = _share(sum(map(judge.is_met, records)), len(records))
    return {
        "scenario": scenario.name,
        "policy": scenario.policy,
        "seed": scenario.seed,
        "requests": {
            "arrived": len(records),
            "warm_up": len(run.records) - len(records),
            **{str(fate): fates[fate] for fate in Fate},
            "shed_by_reason": _reasons(records, Fate.SHED),
            "failed_by_reason": _reasons(records, Fate.FAILED),
            "held": sum(r.was_held for r in records),
            "retried": sum(r.retries > 0 for r in records),
            "failed_open": sum(r.failed_open for r in records),
        },
        "delivered_rate_per_s": rate_per_s,
        "slo": judge.described(),
        "attainment": attainment,
        "goodput_per_s": _product(attainment, rate_per_s),
        "ttft_s": _distribution([t for r in finished if (t := r.ttft_s) is not None]),
        "tpot_s": _distribution([t for r in finished if (t := r.tpot_s) is not None]),
        "e2e_s": _distribution([t for r in finished if (t := r.e2e_s) is not None]),
        "cached_share": _share(
            sum(r.cached_tokens or 0 for r in finished), sum(r.prompt_tokens for r in finished)
        ),
        "output_tokens_per_s": sum(r.output_tokens for r in finished) / span_s if span_s else None,
        "by_prompt_tokens": _by_length(records, judge, unloaded_ttft(scenario.engines)),
        "engines": _engines(scenario, run, hosts),
        "peak_in_system": run.peak_in_system,
        "length_s": run.end_ns / 1e9,
        "events": run.events,
    }


class _Judge:
    """Whether a request got what it should; by true prompt tokens."""

    def __init__(self, slo: Slo | None, tpot_s: float | None) -> None:
        self._slo = slo
        self._tpot_s = tpot_s
        self.judges = slo is not None or tpot_s is not None

    def is_met(self, record: RequestRecord) -> bool:
        if record.fate is not Fate.FINISHED:
            return False
        ttft_s, tpot_s = record.ttft_s, record.tpot_s
        if self._slo is not None:
            target_s = self._slo.ttft_target_s(record.prompt_tokens)
            if ttft_s is None or ttft_s > target_s:
                return False
        return self._tpot_s is None or tpot_s is None or tpot_s <= self._tpot_s

    def described(self) -> dict[str, float | None]:
        return {
            "ttft_s": None if self._slo is None else self._slo.ttft_s,
            "ttft_s_per_1k_tokens": None if self._slo is None else self._slo.ttft_s_per_1k_tokens,
            "tpot_s": self._tpot_s,
        }


def unloaded_ttft(engines: Mapping[EndpointId, EngineSpec]) -> Callable[[int], float]:
    """Prompt tokens -> seconds of API and chunks, in turn, on the fastest of the kinds."""
    kinds = list({spec.profile: spec for spec in engines.values()}.values())
    known: dict[int, float] = {}

    def seconds(prompt_tokens: int) -> float:
        if prompt_tokens not in known:
            known[prompt_tokens] = min(_alone_s(spec, prompt_tokens) for spec in kinds)
        return known[prompt_tokens]

    return seconds


def _alone_s(spec: EngineSpec, prompt_tokens: int) -> float:
    budget, done, seconds = spec.config.max_num_batched_tokens, 0, spec.api_s(prompt_tokens)
    while done < prompt_tokens:
        chunk = min(budget, prompt_tokens - done)
        seconds += spec.step_model.step([(chunk, done)], 0, 0)
        done += chunk
    return seconds


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in order, at least one; linear between them."""
    place = (len(ordered) - 1) * percent / 100
    low = floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _distribution(values: Sequence[float]) -> dict[str, float] | None:
    """None: there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    found = {f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES}
    return {"mean": sum(ordered) / len(ordered), "max": ordered[-1], **found}


def _by_length(
    records: Sequence[RequestRecord], judge: _Judge, unloaded_s: Callable[[int], float]
) -> list[Report]:
    """One entry for each bucket that anybody is in."""
    found = []
    for low, high in zip((0, *BUCKETS), (*BUCKETS, None), strict=True):
        inside = [r for r in records if low <= r.prompt_tokens < (high or inf)]
        if not inside:
            continue
        ttfts = [(r, r.ttft_s) for r in inside if r.fate is Fate.FINISHED]
        slowdowns = [t / unloaded_s(r.prompt_tokens) for r, t in ttfts if t is not None]
        found.append(
            {
                "from": low,
                "below": high,
                "arrived": len(inside),
                "attainment": (
                    _share(sum(map(judge.is_met, inside)), len(inside)) if judge.judges else None
                ),
                "ttft_s": _distribution([t for _, t in ttfts if t is not None]),
                "slowdown": _distribution(slowdowns),
            }
        )
    return found


def _engines(scenario: Scenario, run: Run, hosts: Mapping[EndpointId, Host]) -> list[Report]:
    sent = Counter(r.endpoint_id for r in run.records if r.endpoint_id is not None)
    length_s = run.end_ns / 1e9
    found = []
    for pool in scenario.fleet.pools:
        for endpoint in pool.endpoints:
            host = hosts[endpoint.endpoint_id]
            counters = host.counters()
            found.append(
                {
                    "endpoint": endpoint.endpoint_id,
                    "name": endpoint_name(endpoint),
                    "pool": pool.name,
                    "profile": host.spec.profile,
                    "step_times": asdict(host.spec.step_times),
                    "requests": sent[endpoint.endpoint_id],
                    "busy_share": min(1.0, counters.busy_s / length_s) if length_s else 0.0,
                    "cached_share": _share(counters.prefix_hits, counters.prefix_queries),
                    "preemptions": counters.preemptions,
                    "steps": counters.steps,
                }
            )
    return found


def _reasons(records: Sequence[RequestRecord], fate: Fate) -> dict[str, int]:
    return dict(Counter(r.reason or "" for r in records if r.fate is fate))


def _share(part: float, whole: float) -> float | None:
    """None: of nothing."""
    return part / whole if whole else None


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b
