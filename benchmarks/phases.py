"""Time per phase of a request in one process, and how it grows with the pool.

``parse``, ``hash``, ``place`` and ``encode`` are read from the router's own histogram: the same
numbers that its metrics page shows.  ``place`` is repeated on the bare core.
"""

from random import Random
from statistics import median
from time import thread_time
from typing import Any

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from benchmarks.bodies import chats
from headway_core.events import Finished, FirstToken, Scraped
from headway_core.facts import EngineView, Slo
from headway_core.policy import Fleet
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, an_endpoint
from headway_router.dispatch import Dispatcher
from headway_router.extproc.service import ExternalProcessor
from headway_router.metrics import Metrics
from headway_router.openai.intake import Intake
from headway_router.openai.ratios import TokenRatios

POOL_SIZES = (8, 100, 1000)
BODY_BYTES = (2_000, 20_000, 220_000)
BUFFERED = 2
IN_FLIGHT = 32
PROMPT_BLOCKS = 20


def measure(*, quick: bool) -> list[dict[str, Any]]:
    exchanges = 300 if quick else 2000
    rows: list[dict[str, Any]] = []
    print("time per phase of one request, us (mean), one process, no sockets")
    print(f"{'endpoints':>9} {'body':>7} {'parse':>7} {'hash':>7} {'place':>7} {'encode':>7}")
    for endpoints in POOL_SIZES:
        for size in BODY_BYTES:
            phases = _phases(endpoints, size, exchanges if size < 100_000 else exchanges // 4)
            rows.append({"endpoints": endpoints, "body_bytes": size} | phases)
            figures = " ".join(f"{phases[p]:>7.1f}" for p in ("parse", "hash", "place", "encode"))
            print(f"{endpoints:>9} {size // 1000:>4} kB {figures}")
    print("\n`place` on the bare core, us of CPU (median of 5 interleaved rounds), 20 blocks")
    times = _place_us(exchanges)
    for endpoints in POOL_SIZES:
        ratio = times[endpoints] / times[POOL_SIZES[0]]
        rows.append({"endpoints": endpoints, "place_us": times[endpoints], "times_8": ratio})
        print(f"{endpoints:>9} {times[endpoints]:>7.1f}   {ratio:.2f} x that at {POOL_SIZES[0]}")
    print()
    return rows


def _router(endpoints: int) -> Router:
    router = Router(Random(1))
    names = [f"10.{i // 250}.0.{i % 250 + 1}:8000" for i in range(endpoints)]
    # Fast enough that nothing is held: what is measured is the decision, not overload.
    pool = a_pool(
        [an_endpoint(name, prefill_tokens_per_s=1e7) for name in names], slo=Slo(ttft_s=5)
    )
    router.apply(Fleet(pools=(pool,)), 0.0)
    for name in names:
        router.observe(Scraped(name, EngineView(waiting=0, running=1, kv_usage=0.1)), 0.0)
    return router


def _phases(endpoints: int, body_bytes: int, exchanges: int) -> dict[str, float]:
    """Mean microseconds by phase, from the metrics of a router without sockets."""
    metrics = Metrics()
    now = [0.0]
    dispatcher = Dispatcher(_router(endpoints), metrics, lambda: now[0])
    dispatcher.apply(dispatcher.core.fleet)
    intake = Intake(lambda: dispatcher.catalogue, TokenRatios(), metrics)
    processor = ExternalProcessor(dispatcher, intake, metrics)
    headers = _headers()
    bodies = [
        pb.ProcessingRequest(
            request_body=pb.HttpBody(body=body, end_of_stream=True)
        ).SerializeToString()
        for body in chats(body_bytes, "m")
    ]
    open_streams = []
    for i in range(exchanges):
        now[0] += 0.001
        stream = processor.open({"x-headway-request-id": f"r{i}"}, lambda _: None)
        stream.receive(headers)
        stream.receive(bodies[i % len(bodies)])
        open_streams.append(stream)
        if len(open_streams) > IN_FLIGHT:
            open_streams.pop(0).close()
    sums = {
        sample.labels["phase"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headway_phase_seconds_sum"
    }
    return {phase: 1e6 * total / exchanges for phase, total in sums.items()}


def _headers() -> bytes:
    message = pb.ProcessingRequest()
    message.protocol_config.request_body_mode = BUFFERED
    sent = {":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json"}
    for key, value in sent.items():
        header = message.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    serialized: bytes = message.SerializeToString()
    return serialized


def _place_us(requests: int) -> dict[int, float]:
    routers = {endpoints: _router(endpoints) for endpoints in POOL_SIZES}
    rounds: dict[int, list[float]] = {endpoints: [] for endpoints in POOL_SIZES}
    for number in range(5):
        for endpoints, router in routers.items():
            rounds[endpoints].append(_one_round(router, number, requests))
    return {endpoints: median(times) for endpoints, times in rounds.items()}


def _one_round(router: Router, number: int, requests: int) -> float:
    sent = [
        a_request(blocks=a_chain(i % 500, PROMPT_BLOCKS), request_id=f"{number}/{i}")
        for i in range(requests)
    ]
    spent = 0.0
    for i, request in enumerate(sent):
        now = number * 10.0 + i * 0.002
        started = thread_time()
        router.place(request, now)
        spent += thread_time() - started
        if i >= IN_FLIGHT:
            done = sent[i - IN_FLIGHT].request_id
            router.observe(FirstToken(done), now)
            router.observe(Finished(done), now)
    for request in sent[-IN_FLIGHT:]:
        router.observe(Finished(request.request_id), now)
    return 1e6 * spent / requests
