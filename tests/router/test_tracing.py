"""Spans: who has one, what it says, what the engine is told, and what the collector gets."""

import asyncio
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from headway_core.events import Cancelled, Failed, Finished, FirstToken
from headway_core.outcomes import Held, Placed, Shed
from headway_core.policy import FlowControl, Observability, Policy
from headway_core.router import Router
from headway_core.testing import a_pool, a_request, a_router
from headway_router.metric_labels import SpanOutcome
from headway_router.metrics import Metrics
from headway_router.otlp import MOST_PENDING, OtlpExporter, as_json
from headway_router.tracing import Span, Tracer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


def a_core(share: float = 0.0, *, queued: int = 100) -> Router:
    policy = Policy(
        observability=Observability(trace_share=share),
        flow_control=FlowControl(max_queued_requests=queued),
    )
    return a_router(a_pool(["a", "b"], policy=policy))


class Traced:
    def __init__(self, core: Router) -> None:
        self.core = core
        self.ended: list[Span] = []
        self.tracer = Tracer(core, Random(1), self.ended.append)

    def place(self, request_id: str, parent: str | None = None) -> str | None:
        """What the engine is told."""
        outcome = self.core.place(a_request(request_id=request_id, prompt_tokens=4000), 0.0)
        self.tracer.begin(outcome, parent, 1)
        return self.tracer.decided(outcome)


def test_a_sampled_client_is_the_parent_and_the_engine_gets_the_span() -> None:
    traced = Traced(a_core())
    told = traced.place("r", SAMPLED)
    traced.tracer.observe(FirstToken("r", "a"))
    traced.tracer.observe(Finished("r"))
    traced.tracer.observe(Finished("r"))
    [span] = traced.ended
    assert (span.trace_id, span.parent_id, span.error) == (TRACE, PARENT, None)
    assert told == f"00-{TRACE}-{span.span_id}-01" and span.span_id != PARENT
    assert [name for _, name in span.events] == ["placed", "first token"]
    assert span.attributes["headway.pool"] == "default/m"
    assert span.attributes["headway.endpoint"] in ("a", "b")
    assert span.start_ns == 1 < span.end_ns


@pytest.mark.parametrize("flags", ["00", "02"])
def test_a_client_that_does_not_sample_decides_too(flags: str) -> None:
    traced = Traced(a_core(share=1.0))
    assert traced.place("r", f"00-{TRACE}-{PARENT}-{flags}") is None
    traced.tracer.observe(Finished("r"))
    assert traced.ended == []


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_a_malformed_context_is_none(malformed: str) -> None:
    traced = Traced(a_core(share=1.0))
    told = traced.place("r", malformed)
    assert told is not None and TRACE not in told
    assert Traced(a_core(share=0.0)).place("r", malformed) is None


def test_a_share_of_the_pools_requests_has_a_span_of_its_own_trace() -> None:
    traced = Traced(a_core(share=0.3))
    told = [traced.place(f"r{number}") for number in range(50)]
    for number in range(50):
        traced.core.observe(Cancelled(f"r{number}"), 0.0)
        traced.tracer.observe(Cancelled(f"r{number}"))
    assert 5 <= len(traced.ended) <= 25
    assert len({span.trace_id for span in traced.ended}) == len(traced.ended)
    assert all(span.parent_id is None for span in traced.ended)
    assert any(told)


def test_a_held_request_tells_when_it_was_placed_and_a_shed_one_why_it_was_not() -> None:
    traced = Traced(a_core(share=1.0, queued=1))
    kinds = set()
    for number in range(8):
        outcome = traced.core.place(
            a_request(request_id=f"r{number}", prompt_tokens=4000), number / 100
        )
        traced.tracer.begin(outcome, None, 1)
        traced.tracer.decided(outcome)
        kinds.add(type(outcome))
    assert kinds == {Placed, Held, Shed}
    assert {span.error for span in traced.ended} == {"shed: queue-full"}
    for settled in traced.core.observe(Finished("r0"), 1.0):
        traced.tracer.decided(settled)
        traced.tracer.observe(Failed(settled.request_id))
    assert [name for _, name in traced.ended[-1].events] == ["held", "placed"]
    assert traced.ended[-1].error == "the engine gave no answer"


def a_span() -> Span:
    attributes: dict[str, str | int | float] = {"a": "x", "n": 3, "s": 0.5}
    return Span(
        trace_id=TRACE,
        span_id=PARENT,
        parent_id=None,
        start_ns=10**18,
        end_ns=10**18 + 5,
        attributes=attributes,
        events=[(10**18 + 1, "placed")],
        error="no",
    )


def test_the_json_is_otlps() -> None:
    [resource] = as_json([a_span()])["resourceSpans"]
    [scope] = resource["scopeSpans"]
    assert scope["spans"] == [
        {
            "traceId": TRACE,
            "spanId": PARENT,
            "name": "headway.route",
            "kind": 1,
            "startTimeUnixNano": "1000000000000000000",
            "endTimeUnixNano": "1000000000000000005",
            "attributes": [
                {"key": "a", "value": {"stringValue": "x"}},
                {"key": "n", "value": {"intValue": "3"}},
                {"key": "s", "value": {"doubleValue": 0.5}},
            ],
            "events": [{"timeUnixNano": "1000000000000000001", "name": "placed"}],
            "status": {"code": 2, "message": "no"},
        }
    ]


@pytest.mark.parametrize("status", [200, 503])
async def test_spans_reach_the_collector_or_are_counted_as_lost(status: int) -> None:
    received: list[Any] = []

    async def collect(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response(status=status)

    app, metrics = web.Application(), Metrics()
    app.router.add_post("/v1/traces", collect)
    async with TestServer(app) as server, asyncio.TaskGroup() as tasks:
        exporter = OtlpExporter(str(server.make_url("/")), metrics)
        for _ in range(MOST_PENDING + 3):
            exporter.add(a_span())
        sending = tasks.create_task(exporter.run())
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    [export] = received
    assert len(export["resourceSpans"][0]["scopeSpans"][0]["spans"]) == MOST_PENDING
    lost = 3 if status == 200 else MOST_PENDING + 3
    assert metrics.spans.labels(SpanOutcome.LOST).value == lost
    assert metrics.spans.labels(SpanOutcome.SENT).value == MOST_PENDING + 3 - lost
