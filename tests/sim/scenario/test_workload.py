"""How a workload becomes traffic."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headway_sim.errors import InvalidScenario
from headway_sim.scenario import ConversationSource, PoissonSource, TraceSource, Workload
from headway_sim.scenario.sources import Arrivals
from headway_sim.traffic import Issued, Traffic
from headway_sim.workloads.multi_turn import MultiTurn, user_of
from headway_sim.workloads.poisson import Poisson

EXAMPLE = Path(__file__).parents[3] / "examples" / "simulate" / "sample.jsonl"
POISSON = PoissonSource(shape=Poisson(rate_per_s=10))
TRACE = TraceSource(file=EXAMPLE)
TALK = ConversationSource(shape=MultiTurn(users=4), duration_s=60.0)


def arrivals(workload: Workload, seed: int = 1) -> list[Issued]:
    return list(workload.traffic(seed).first())


@pytest.mark.parametrize("source", [POISSON, TRACE, TALK])
def test_a_rate_compresses_time_and_drops_nothing(
    source: PoissonSource | TraceSource | ConversationSource,
) -> None:
    requests = 50
    plain = arrivals(Workload(source=source, requests=requests))
    quick = arrivals(Workload(source=source, requests=requests, rate_per_s=20.0))
    assert len(plain) == len(quick) == requests
    assert [q.request.prompt for q in quick] == [p.request.prompt for p in plain]
    factors = {round(p.at_s / q.at_s, 6) for p, q in zip(plain, quick, strict=True) if q.at_s}
    assert len(factors) == 1
    if not isinstance(source, PoissonSource):
        rate = (requests - 1) / (quick[-1].at_s - quick[0].at_s)
        assert rate == pytest.approx(20.0)


def test_poisson_arrivals_have_their_rate_and_the_spread_of_the_exponential() -> None:
    issued = arrivals(Workload(source=POISSON, requests=4000))
    gaps = [b.at_s - a.at_s for a, b in pairwise(issued)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=3 / len(gaps) ** 0.5)
    deviation = (sum((g - mean) ** 2 for g in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.08)


def test_seeds_change_what_is_generated_and_only_the_times_of_a_trace() -> None:
    for source in (POISSON, TALK):
        one, two = (arrivals(Workload(source=source, requests=20), seed) for seed in (1, 2))
        assert [i.request.prompt for i in one] != [i.request.prompt for i in two]
    one, two = (arrivals(Workload(source=TRACE, requests=20), seed) for seed in (1, 2))
    assert [i.request.prompt for i in one] == [i.request.prompt for i in two]
    assert [i.at_s for i in one] != [i.at_s for i in two]


def drive(traffic: Traffic, answer_s: float) -> list[Issued]:
    """Everything that is sent if every answer takes ``answer_s``."""
    todo, seen = list(traffic.first()), []
    while todo:
        todo.sort(key=lambda issued: issued.at_s)
        issued = todo.pop(0)
        seen.append(issued)
        if following := traffic.after(issued, issued.at_s + answer_s):
            todo.append(following)
    return seen


def test_fixed_concurrency_sends_each_request_once_and_never_more_at_a_time() -> None:
    traffic = Workload(source=TRACE, concurrency=5).traffic(1)
    seen = drive(traffic, 1.0)
    assert len(seen) == 240
    for issued in seen:
        meanwhile = [i for i in seen if i.at_s <= issued.at_s < i.at_s + 1.0]
        assert len(meanwhile) <= 5


@pytest.mark.parametrize("answer_s", [0.1, 30.0])
def test_a_turn_follows_the_answer_to_the_one_before(answer_s: float) -> None:
    workload = Workload(source=TALK, follows_answers=True)
    seen = drive(workload.traffic(1), answer_s)
    recorded = arrivals(Workload(source=TALK))
    assert len(seen) == len(recorded)
    for client in range(4):
        own = [issued for issued in seen if issued.client == client]
        assert len({user_of(issued.request) for issued in own}) == 1
        turns = [(issued.request.session, issued.request.turn) for issued in own]
        assert turns == [
            (i.request.session, i.request.turn)
            for i in recorded
            if user_of(i.request) == user_of(own[0].request)
        ]
        for before, after in pairwise(own):
            assert after.at_s >= before.at_s + answer_s


def test_a_workload_of_one_instant_has_no_rate_to_compress() -> None:
    with pytest.raises(InvalidScenario, match="lasts for some time"):
        Workload(source=TRACE, requests=1, rate_per_s=2.0).traffic(1)


def test_a_window_of_a_trace_is_what_is_below_a_length_and_comes_after_others() -> None:
    whole = [i.request for i in arrivals(Workload(source=TRACE))]
    limit = sorted(request.prompt_tokens for request in whole)[len(whole) // 2]
    short = [request for request in whole if request.prompt_tokens < limit]
    assert 40 < len(short) < len(whole)
    source = replace(TRACE, below_tokens=limit, skip=10, arrivals=Arrivals.RECORDED)
    window = arrivals(Workload(source=source, requests=20))
    assert [i.request.prompt for i in window] == [request.prompt for request in short[10:30]]


def test_equal_distances_are_the_same_for_every_seed() -> None:
    source = replace(TRACE, arrivals=Arrivals.EVEN)
    assert arrivals(Workload(source=source), 1) == arrivals(Workload(source=source), 2)


def test_nobody_being_below_the_length_is_told() -> None:
    with pytest.raises(InvalidScenario, match="every prompt has 1 tokens or more"):
        arrivals(Workload(source=replace(TRACE, below_tokens=1)))


def test_a_trace_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines(keepends=True)
    file = tmp_path / "trace.jsonl"
    for number, count in enumerate((3, 5)):
        file.write_text("".join(lines[:count]))
        os.utime(file, ns=(number, number))
        assert len(arrivals(Workload(source=TraceSource(file=file)))) == count


def test_a_native_rate_makes_rates_nominal() -> None:
    plain = arrivals(Workload(source=TRACE))
    quick = arrivals(Workload(source=TRACE, rate_per_s=6.0, native_rate_per_s=2.0))
    assert [q.at_s for q in quick] == pytest.approx([p.at_s / 3 for p in plain])


def test_the_warm_up_has_a_rate_of_its_own_and_the_rest_follows_as_it_is() -> None:
    plain = arrivals(Workload(source=TRACE, requests=30))
    warmed = arrivals(
        Workload(source=TRACE, requests=30, warm_up_requests=10, warm_up_rate_per_s=0.5)
    )
    assert [i.at_s for i in warmed[:10]] == pytest.approx([2.0 * number for number in range(10)])
    assert warmed[10].at_s == pytest.approx(20.0)
    assert [b.at_s - a.at_s for a, b in pairwise(warmed[10:])] == pytest.approx(
        [b.at_s - a.at_s for a, b in pairwise(plain[10:])]
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"warm_up_rate_per_s": 0.0}, "warm_up_rate_per_s must be > 0, got 0.0"),
        ({"warm_up_rate_per_s": 1.0, "concurrency": 2}, "no meaning in a closed loop"),
        ({"native_rate_per_s": 1.0}, "of use only with a rate_per_s"),
        ({"native_rate_per_s": -1.0, "rate_per_s": 1.0}, "native_rate_per_s must be > 0, got -1"),
    ],
)
def test_rates_that_cannot_be_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidScenario, match=problem):
        Workload(source=TRACE, **given)
