"""What the built-in experiment says of itself is true, and both programs are told the same."""

import json

import pytest

import headway_api
from headway_cli.demo.dilation import choose_dilation
from headway_cli.demo.experiment import CONVERSATIONS_FLEET, TRACE_FLEET, Source
from headway_cli.demo.fleet import FleetSpec, documents
from headway_cli.demo.settings import parse
from headway_core.facts import Slo
from headway_sim.workloads.request import Segment, WorkloadRequest

DURATION_S = 30.0


@pytest.fixture(scope="module", params=[1, 2, 3])
def requests(request: pytest.FixtureRequest) -> tuple[WorkloadRequest, ...]:
    return Source(parse(["--seed", str(request.param)])).experiment(DURATION_S).requests


def test_the_load_is_about_70_percent_of_what_the_engines_prefill_without_caches(
    requests: tuple[WorkloadRequest, ...],
) -> None:
    offered = sum(request.prompt_tokens for request in requests) / DURATION_S
    capacity = sum(spec.profile.prefill_tokens_per_s for spec in CONVERSATIONS_FLEET.engines)
    assert 0.6 < offered / capacity < 0.8


def test_different_tokens_fit_into_all_caches_but_not_into_one(
    requests: tuple[WorkloadRequest, ...],
) -> None:
    segments = {segment for request in requests for segment in request.prompt}
    different = sum(segment.tokens for segment in segments)
    cache = CONVERSATIONS_FLEET.kv_cache_tokens
    assert cache is not None
    assert 2 * cache < different < len(CONVERSATIONS_FLEET.engines) * cache


def test_every_request_fits_into_the_engines(requests: tuple[WorkloadRequest, ...]) -> None:
    longest = max(request.prompt_tokens + request.output_tokens for request in requests)
    assert longest <= CONVERSATIONS_FLEET.max_model_len


@pytest.mark.parametrize("fleet", [CONVERSATIONS_FLEET, TRACE_FLEET])
def test_four_engines_of_two_kinds_can_each_take_the_longest_request(fleet: FleetSpec) -> None:
    assert len(fleet.engines) == 4
    assert len({spec.accelerator for spec in fleet.engines}) == 2
    for spec in fleet.engines:
        cache = fleet.kv_cache_tokens or spec.profile.config.kv_tokens
        assert fleet.max_model_len <= cache <= spec.profile.config.kv_tokens


@pytest.mark.parametrize("dilation", [1.0, 2.5])
def test_the_routers_configuration_is_dilated_as_the_engines_are(dilation: float) -> None:
    addresses = {s.name: f"127.0.0.1:{9000 + n}" for n, s in enumerate(TRACE_FLEET.engines)}
    texts = {
        f"{n}.yaml": json.dumps(d)
        for n, d in enumerate(documents(addresses, TRACE_FLEET, dilation))
    }
    fleet = headway_api.compile(headway_api.read(texts, origin="demo"))
    (pool,) = fleet.pools
    assert {e.name: e.endpoint_id for e in pool.endpoints} == addresses
    assert pool.slo == Slo(ttft_s=1.0 * dilation, ttft_s_per_1k_tokens=0.1 * dilation)
    assert pool.policy.stale_after_s == 5.0 * dilation
    assert pool.policy.flow_control.queue_timeout_s == pytest.approx(30.0 * dilation, abs=0.5)
    declared = {e.name: e.capacity.prefill_tokens_per_s for e in pool.endpoints}
    for spec in TRACE_FLEET.engines:
        real = spec.profile.prefill_tokens_per_s
        assert declared[spec.name] == pytest.approx(real / dilation, rel=1e-3)


def some_requests(per_s: int) -> list[WorkloadRequest]:
    prompt = (Segment("p", 4000),)
    return [
        WorkloadRequest(at_s=n / per_s, prompt=prompt, output_tokens=50) for n in range(10 * per_s)
    ]


def test_a_slower_or_smaller_machine_runs_slower() -> None:
    def chosen(per_s: int = 50, cpu_s: float = 0.005, cores: float = 2.0) -> float:
        return choose_dilation(some_requests(per_s), 10.0, minimum=1.0, cpu_s=cpu_s, cores=cores)

    assert chosen(per_s=1) == 1.0
    assert chosen(per_s=200) > chosen(per_s=100) > chosen()
    assert chosen(cpu_s=0.02) == pytest.approx(4 * chosen(cpu_s=0.005), abs=1.5)
    assert chosen(cores=1.0) > chosen(cores=2.0) > chosen(cores=8.0)
    # 18.4 ms per request: 50 of them per second keep 0.92 cores busy.
    assert chosen() == pytest.approx(0.92 / (0.4 * 2), abs=0.5)
