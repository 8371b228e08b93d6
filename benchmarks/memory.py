"""Memory of the core: per endpoint with a full mirror, and per request in flight."""

import tracemalloc
from typing import Any

from headway_core.facts import Slo
from headway_core.policy import FlowControl, Policy
from headway_core.prefix.mirror import Mirror
from headway_core.testing import a_chain, a_pool, a_request, a_router

ENDPOINTS = 100
CACHE_TOKENS = 400_000
"""KV cache of an 8B model on 80 GB."""
PROMPT_BLOCKS = 40
IN_FLIGHT = 2000


def measure() -> list[dict[str, Any]]:
    names = [f"10.0.0.{i + 1}:8000" for i in range(ENDPOINTS)]
    policy = Policy(flow_control=FlowControl(enabled=False))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    mirror = Mirror()
    chains = CACHE_TOKENS // (256 * PROMPT_BLOCKS)
    for e, name in enumerate(names):
        mirror.add(name, CACHE_TOKENS)
        for i in range(chains):
            mirror.record(name, a_chain(e * chains + i, PROMPT_BLOCKS), 256)
    filled = tracemalloc.get_traced_memory()[0]
    router = a_router(a_pool(names, policy=policy, slo=Slo(ttft_s=5)))
    ready = tracemalloc.get_traced_memory()[0]
    for i in range(IN_FLIGHT):
        router.place(a_request(blocks=a_chain(i % 50, PROMPT_BLOCKS)), 0.0)
    loaded = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    row = {
        "kib_per_endpoint": (filled - before) / ENDPOINTS / 1024,
        "kib_per_request_in_flight": (loaded - ready) / IN_FLIGHT / 1024,
    }
    print("memory of the core")
    print(
        f"  per endpoint, mirror of {CACHE_TOKENS:,} tokens full: {row['kib_per_endpoint']:.0f} KiB"
    )
    print(
        f"  per request in flight, {PROMPT_BLOCKS} blocks: "
        f"{row['kib_per_request_in_flight']:.1f} KiB\n"
    )
    return [row]
