"""What an engine counted itself, from its metrics page."""

from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from headway_core.facts import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCounters:
    requests: int
    """Finished."""
    prompt_tokens: int
    cached_tokens: int


async def read_counters(session: aiohttp.ClientSession, address: EndpointId) -> EngineCounters:
    async with session.get(f"http://{address}/metrics") as response:
        page = await response.text()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return EngineCounters(
        requests=int(sums.get("vllm:request_success_total", 0)),
        prompt_tokens=int(sums.get("vllm:prompt_tokens_total", 0)),
        cached_tokens=int(sums.get("vllm:prefix_cache_hits_total", 0)),
    )
