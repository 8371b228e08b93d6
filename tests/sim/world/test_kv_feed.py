"""Cache events in the router's own hashes: joined by request, late, and with gaps."""

from dataclasses import replace

import pytest

from headway_core.events import BlocksRemoved, BlocksStored, Event
from headway_sim.traffic import OpenLoop
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.world.hosts import EngineSpec
from headway_sim.world.setting import KvEvents, Observation
from headway_sim.world.testing import QUIET, Scripted, a_fleet, a_request, an_engine
from headway_sim.world.world import World


def a_small_engine(blocks: int) -> EngineSpec:
    spec = an_engine()
    config = replace(spec.config, num_blocks=blocks + 1, max_model_len=16 * blocks)
    return replace(spec, config=config)


def events_of(
    requests: list[WorkloadRequest],
    kv_events: KvEvents,
    *,
    router_block: int = 32,
    size_error: float = 0.0,
    blocks: int = 1900,
) -> tuple[Scripted, list[tuple[float, Event]]]:
    picker = Scripted(["a"])
    observation = Observation(kv_events=kv_events, block_tokens=router_block, size_error=size_error)
    World(
        fleet=a_fleet(["a"]),
        engines={"a": a_small_engine(blocks)},
        traffic=OpenLoop(requests),
        make_picker=picker.make,
        setting=replace(QUIET, observation=observation),
    ).run()
    kinds = (BlocksStored, BlocksRemoved)
    return picker, [(now, event) for now, event in picker.seen if isinstance(event, kinds)]


def test_stored_blocks_are_the_routers_blocks_of_that_request_and_late() -> None:
    picker, events = events_of([a_request(1.0, prompt=100)], KvEvents(delay_s=0.25))
    # Engine blocks of 16: six full ones, 96 tokens, three of the router's 32.
    ((now, event),) = events
    blocks = picker.requests[0][1].blocks
    assert event == BlocksStored("a", blocks[:3], 32)
    assert now == pytest.approx(1.0 + 0.010 + 0.25)


def test_a_block_that_the_engine_filled_only_in_part_is_not_told() -> None:
    picker, events = events_of([a_request(1.0, prompt=56)], KvEvents())
    assert [event for _, event in events] == [
        BlocksStored("a", picker.requests[0][1].blocks[:1], 32)
    ]


def test_by_the_ratio_of_estimate_and_truth_depths_stay_right_on_average() -> None:
    requests = [a_request(float(i), prompt=1600) for i in range(18)]
    picker, events = events_of(requests, KvEvents(), size_error=0.4)
    for (_, request), (_, event) in zip(picker.requests, events, strict=True):
        assert isinstance(event, BlocksStored)
        assert event.blocks == request.blocks[: len(event.blocks)]
        # All 100 engine blocks are stored, so all of the router's are, but for rounding.
        assert len(request.blocks) - len(event.blocks) in (0, 1)


def test_evicted_blocks_are_removed_once_their_last_copy_is_gone() -> None:
    requests = [a_request(float(i), prompt=160) for i in range(3)]
    picker, events = events_of(requests, KvEvents(), blocks=20)
    first = picker.requests[0][1].blocks
    removed = [event for _, event in events if isinstance(event, BlocksRemoved)]
    gone = [block for event in removed for block in event.blocks]
    assert gone and set(gone) <= set(first)
    assert gone[0] == first[4]  # The tail goes before the head.
    assert len(gone) == len(set(gone))


def test_lost_messages_and_gaps_never_arrive() -> None:
    requests = [a_request(0.1 * i) for i in range(200)]
    everything = len(events_of(requests, KvEvents())[1])
    assert everything == 200
    assert events_of(requests, KvEvents(loss=1.0))[1] == []
    half = len(events_of(requests, KvEvents(loss=0.5))[1])
    assert abs(half - 100) <= 3 * (200 * 0.25) ** 0.5
    gap = KvEvents(delay_s=0.0, gaps_s=((5.0, 10.0),))
    with_gap = events_of(requests, gap)[1]
    assert len(with_gap) == 150
    assert not [now for now, _ in with_gap if 5.0 <= now < 10.0]
