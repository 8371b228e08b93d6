"""The metrics text: every recorded family with its type, help, labels and buckets."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine_contract import servers
from engine_contract.client import CHAT, COMPLETIONS, Client
from engine_contract.metrics_text import Exposition

NOT_COMPARED = ("python_", "process_")


@pytest.fixture(scope="session")
def recorded(fixture_file: Callable[[str], str]) -> dict[str, Any]:
    """Family -> type, label sets (a value of null may be anything) and bucket bounds."""
    families: dict[str, Any] = json.loads(fixture_file("metrics.json"))
    return families


@pytest.fixture
async def scrape(main: Client) -> Exposition:
    """A scrape after every kind of traffic that creates a series."""
    await main.complete("the house", max_tokens=2)
    await main.complete("the house", max_tokens=2, model="sql")
    await main.post(CHAT, {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
    await main.post(COMPLETIONS, {"model": "nope", "prompt": "a"})
    await main.get("/v1/models")
    await main.get("/v1/none")
    return await main.idle_metrics()


def test_families_and_types_are_the_recorded_ones(
    scrape: Exposition, recorded: dict[str, Any]
) -> None:
    compared = {n: t for n, t in scrape.types.items() if not n.startswith(NOT_COMPARED)}
    assert compared == {name: family["type"] for name, family in recorded.items()}


def test_every_family_has_a_line_of_help(scrape: Exposition) -> None:
    assert scrape.helps.keys() == scrape.types.keys()
    assert "" not in scrape.helps.values()


def test_every_recorded_label_set_is_there_and_no_other(
    scrape: Exposition, recorded: dict[str, Any]
) -> None:
    for name, family in recorded.items():
        free = {key for labels in family["labels"] for key in labels if labels[key] is None}
        found = [
            {key: None if key in free else value for key, value in s.labels.items() if key != "le"}
            for s in scrape.families[name]
        ]
        assert distinct(found) == distinct(family["labels"]), name


def distinct(label_sets: list[dict[str, str | None]]) -> list[dict[str, str | None]]:
    """Each label set once, in an order that does not depend on the text."""
    by_text = {json.dumps(labels, sort_keys=True): labels for labels in label_sets}
    return [by_text[text] for text in sorted(by_text)]


def test_histograms_have_the_recorded_buckets_and_add_up(
    scrape: Exposition, recorded: dict[str, Any]
) -> None:
    for name, family in recorded.items():
        if family["type"] != "histogram":
            continue
        buckets: dict[tuple[tuple[str, str], ...], list[tuple[str, float]]] = {}
        for sample in scrape.select(f"{name}_bucket"):
            labels = dict(sample.labels)
            bound = labels.pop("le")
            buckets.setdefault(tuple(sorted(labels.items())), []).append((bound, sample.value))
        for series, bounds in buckets.items():
            assert [bound for bound, _ in bounds] == family["buckets"], name
            counts = [count for _, count in bounds]
            assert counts == sorted(counts), name
            assert counts[-1] == scrape.value(f"{name}_count", **dict(series)), name


def test_the_cache_configuration_tells_block_size_blocks_and_hash(scrape: Exposition) -> None:
    (info,) = scrape.select("vllm:cache_config_info")
    tokens = servers.BLOCKS * servers.BLOCK_TOKENS
    assert info.value == 1
    assert info.labels["block_size"] == str(servers.BLOCK_TOKENS)
    assert info.labels["num_gpu_blocks"] == str(servers.BLOCKS)
    assert info.labels["kv_cache_size_tokens"] == str(tokens)
    assert info.labels["prefix_caching_hash_algo"] == "sha256"


async def test_the_cache_configuration_tells_the_hash_in_use(limited: Client) -> None:
    (info,) = (await limited.metrics()).select("vllm:cache_config_info")
    assert info.labels["prefix_caching_hash_algo"] == "sha256_cbor"


async def test_an_idle_engine_with_a_full_cache_reports_no_usage(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    for _ in range(4):
        await main.complete(fresh_prompt(1800), max_tokens=1)
    scrape = await main.idle_metrics()
    assert scrape.value("vllm:kv_cache_usage_perc") == 0


async def test_requests_are_counted_by_route_method_and_status(main: Client) -> None:
    route = {"handler": COMPLETIONS, "method": "POST", "status": "4xx"}
    unknown = {"handler": "none", "method": "GET", "status": "4xx"}
    await main.post(COMPLETIONS, {"model": "nope", "prompt": "a"})
    await main.get("/v1/none")
    before = await main.metrics()
    await main.post(COMPLETIONS, {"model": "nope", "prompt": "a"})
    await main.get("/v1/none")
    after = await main.metrics()
    for labels in (route, unknown):
        counts = [m.value("http_requests_total", **labels) for m in (before, after)]
        assert counts[1] - counts[0] == 1
