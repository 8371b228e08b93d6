"""What the prefix cache gives back, and that every counter moves by exactly that."""

from collections.abc import Callable
from typing import Any

import pytest

from engine_contract.client import CHAT, Client
from engine_contract.metrics_text import Exposition
from engine_contract.servers import BLOCK_TOKENS

FreshPrompt = Callable[[int], list[int]]


def cached_tokens(body: dict[str, Any]) -> int:
    tokens: int = body["usage"]["prompt_tokens_details"]["cached_tokens"]
    return tokens


@pytest.mark.parametrize("prompt_tokens", [31, 32, 33, 64, 65, 100, 600])
async def test_a_repeated_prompt_finds_all_full_blocks_but_computes_its_last_token(
    main: Client, fresh_prompt: FreshPrompt, prompt_tokens: int
) -> None:
    prompt = fresh_prompt(prompt_tokens)
    first = await main.complete(prompt, max_tokens=1)
    second = await main.complete(prompt, max_tokens=1)
    assert cached_tokens(first) == 0
    assert cached_tokens(second) == (prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS


async def test_a_longer_prompt_finds_the_blocks_of_its_beginning_and_of_the_answer(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(40)
    first = await main.complete(prompt, max_tokens=60, return_token_ids=True)
    answer = first["choices"][0]["token_ids"]
    assert len(answer) == 60
    longer = await main.complete([*prompt, *answer, *fresh_prompt(20)], max_tokens=1)
    # The last generated token was never computed: 99 tokens have KV, three full blocks.
    assert cached_tokens(longer) == 96


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"cache_salt": "b"}, id="another salt"),
        pytest.param({"model": "sql"}, id="another adapter"),
        pytest.param({"cache_salt": "b", "model": "sql"}, id="another salt and adapter"),
    ],
)
async def test_salts_and_adapters_share_nothing(
    main: Client, fresh_prompt: FreshPrompt, other: dict[str, Any]
) -> None:
    prompt = fresh_prompt(100)
    await main.complete(prompt, max_tokens=1)
    assert cached_tokens(await main.complete(prompt, max_tokens=1, cache_salt="a")) == 0
    assert cached_tokens(await main.complete(prompt, max_tokens=1, cache_salt="a")) == 96
    assert cached_tokens(await main.complete(prompt, max_tokens=1, **other)) == 0
    assert cached_tokens(await main.complete(prompt, max_tokens=1, **other)) == 96


async def test_a_second_choice_finds_the_blocks_of_the_first(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    body = await main.complete(fresh_prompt(70), max_tokens=3, n=2, temperature=1.0)
    assert cached_tokens(body) == 64
    assert body["usage"]["prompt_tokens"] == 70
    assert body["usage"]["completion_tokens"] == 6


async def test_chat_also_tells_how_many_tokens_it_added_to_the_cache(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    words = " ".join(str(token) for token in fresh_prompt(60))
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 1}
    first, second = [(await main.post(CHAT, body)).json["usage"] for _ in range(2)]
    full = first["prompt_tokens"] // BLOCK_TOKENS * BLOCK_TOKENS
    found = (first["prompt_tokens"] - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert first["prompt_tokens_details"]["created_cache_tokens"] == full
    assert second["prompt_tokens_details"]["cached_tokens"] == found
    assert second["prompt_tokens_details"]["created_cache_tokens"] == full - found


def token_counts(metrics: Exposition) -> dict[str, int]:
    """Every counter of tokens, by a short name."""
    named = {
        name: metrics.value(f"vllm:{name}")
        for name in (
            "prefix_cache_queries_total",
            "prefix_cache_hits_total",
            "prompt_tokens_total",
            "prompt_tokens_cached_total",
            "generation_tokens_total",
            "iteration_tokens_total_sum",
            "request_prompt_tokens_sum",
            "request_generation_tokens_sum",
            "request_prefill_kv_computed_tokens_sum",
        )
    }
    for source in ("local_compute", "local_cache_hit", "external_kv_transfer"):
        named[source] = metrics.value("vllm:prompt_tokens_by_source_total", source=source)
    for medium in ("device", "host", "p2p", "disk", "external_unspecified"):
        cached = metrics.value("vllm:prompt_tokens_cached_by_source_total", source=medium)
        named[f"cached_{medium}"] = cached
    return {name: int(value) for name, value in named.items()}


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


@pytest.mark.parametrize(("prompt_tokens", "asked"), [(100, 5), (33, 1), (600, 40)])
async def test_token_counters_move_by_what_was_found_and_what_was_computed(
    main: Client, fresh_prompt: FreshPrompt, prompt_tokens: int, asked: int
) -> None:
    prompt = fresh_prompt(prompt_tokens)
    found = (prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    start = token_counts(await main.idle_metrics())
    await main.complete(prompt, max_tokens=asked)
    cold = token_counts(await main.idle_metrics())
    await main.complete(prompt, max_tokens=asked)
    warm = token_counts(await main.idle_metrics())

    whichever = {
        "prefix_cache_queries_total": prompt_tokens,
        "prompt_tokens_total": prompt_tokens,
        "request_prompt_tokens_sum": prompt_tokens,
        "generation_tokens_total": asked,
        "request_generation_tokens_sum": asked,
    }
    assert grown(start, cold) == whichever | {
        "local_compute": prompt_tokens,
        "request_prefill_kv_computed_tokens_sum": prompt_tokens,
        "iteration_tokens_total_sum": prompt_tokens + asked,
    }
    assert grown(cold, warm) == whichever | {
        "prefix_cache_hits_total": found,
        "prompt_tokens_cached_total": found,
        "local_cache_hit": found,
        "cached_device": found,
        "local_compute": prompt_tokens - found,
        "request_prefill_kv_computed_tokens_sum": prompt_tokens - found,
        "iteration_tokens_total_sum": prompt_tokens - found + asked,
    }


async def test_every_choice_of_a_request_queries_the_cache(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    start = token_counts(await main.idle_metrics())
    await main.complete(fresh_prompt(70), max_tokens=3, n=2, temperature=1.0)
    counts = grown(start, token_counts(await main.idle_metrics()))
    assert counts["prefix_cache_queries_total"] == 140
    assert counts["prefix_cache_hits_total"] == 64
    assert counts["local_compute"] == 76
    assert counts["generation_tokens_total"] == 6


async def test_histograms_see_each_request_once(main: Client, fresh_prompt: FreshPrompt) -> None:
    counts = {
        "time_to_first_token_seconds": 1,
        "inter_token_latency_seconds": 8,
        "request_time_per_output_token_seconds": 1,
        "e2e_request_latency_seconds": 1,
        "request_queue_time_seconds": 1,
        "request_inference_time_seconds": 1,
        "request_prefill_time_seconds": 1,
        "request_decode_time_seconds": 1,
        "request_prompt_tokens": 1,
        "request_generation_tokens": 1,
        "request_max_num_generation_tokens": 1,
        "request_params_n": 1,
        "request_params_max_tokens": 1,
        "request_num_preemptions": 1,
        "request_prefill_kv_computed_tokens": 1,
    }
    before = await main.idle_metrics()
    await main.complete(fresh_prompt(50), max_tokens=9)
    after = await main.idle_metrics()
    moved = {
        name: after.value(f"vllm:{name}_count") - before.value(f"vllm:{name}_count")
        for name in counts
    }
    assert moved == counts
    lengths = "vllm:request_success_total"
    ended = after.value(lengths, finished_reason="length")
    assert ended - before.value(lengths, finished_reason="length") == 1
