"""The text of ``/metrics``: every recorded name, type, label set and bucket; laws of its writer."""

import json
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headway_engine.series import Counter, Gauge, Histogram, Summary, label_text
from headway_engine.vllm_series import token_bounds

FIXTURES = Path(__file__).parents[1] / "fixtures" / "vllm-0.32"

Launch = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    families: dict[str, Any] = json.loads((FIXTURES / "metrics.json").read_text())
    return families


def clock() -> float:
    return 1795315045.0


def samples(text: str) -> dict[str, float]:
    """By name and labels."""
    return {
        s.name + label_text(s.labels): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_every_recorded_engine_family_is_there_with_its_type(
    launch: Launch, recorded: dict[str, Any]
) -> None:
    engine = await launch(kv_cache_metrics=True, enable_lora=True, lora_modules=["sql=/sql"])
    body = {"prompt": "the house", "max_tokens": 2, "model": "sql"}
    assert (await engine.post("/v1/completions", body)).status == 200
    text = (await engine.get("/metrics")).text
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    missing = {
        name: family["type"]
        for name, family in recorded.items()
        if types.get(name) != family["type"]
    }
    assert missing == {}


async def test_a_server_without_block_metrics_does_not_show_them(launch: Launch) -> None:
    engine = await launch()
    assert "kv_block_" not in (await engine.get("/metrics")).text


async def test_blocks_that_are_used_again_and_evicted_are_measured(launch: Launch) -> None:
    engine = await launch(kv_cache_metrics=True, num_gpu_blocks_override=70, max_model_len=512)
    count = 'vllm:kv_block_{}_seconds_count{{engine="0",model_name="tiny"}}'
    prompt = {"prompt": "the house of the world " * 60, "max_tokens": 1}
    for _ in range(2):
        await engine.post("/v1/completions", prompt)
    assert await engine.value(count.format("reuse_gap")) == 10
    assert await engine.value(count.format("lifetime")) == 0
    for number in range(8):
        other = {"prompt": f"{number} other words " * 80, "max_tokens": 1}
        await engine.post("/v1/completions", other)
    assert await engine.value(count.format("lifetime")) > 0
    assert await engine.value(count.format("lifetime")) == await engine.value(
        count.format("idle_before_evict")
    )


def test_token_buckets_reach_the_length_of_the_context() -> None:
    assert token_bounds(2048)[-3:] == (500.0, 1000.0, 2000.0)
    assert token_bounds(8)[-1] == 5.0
    assert token_bounds(131072)[-1] == 100_000.0


@given(st.lists(st.floats(0, 100), max_size=50), st.lists(st.floats(0.1, 99), min_size=1))
def test_a_histogram_counts_every_value_at_or_below_a_bound(
    values: list[float], bounds: list[float]
) -> None:
    bounds = sorted(set(bounds))
    histogram = Histogram("h", "help", bounds, clock)
    key = histogram.touch({"a": "b"})
    for value in values:
        histogram.observe(value, key)
    found = samples(histogram.render())
    for bound in bounds:
        le = label_text({"a": "b", "le": str(bound)})
        matching = [v for name, v in found.items() if name == f"h_bucket{le}"]
        assert matching == [sum(value <= bound for value in values)]
    assert found['h_bucket{a="b",le="+Inf"}'] == found['h_count{a="b"}'] == len(values)
    assert math.isclose(found['h_sum{a="b"}'], sum(values))


def test_a_counter_shows_what_was_added_since_the_last_text() -> None:
    counter = Counter("c", "help", clock)
    counter.add(2, {"kind": "a"})
    assert samples(counter.render())['c_total{kind="a"}'] == 2
    counter.add(3, {"kind": "a"})
    counter.add(1, {"kind": "b"})
    found = samples(counter.render())
    assert (found['c_total{kind="a"}'], found['c_total{kind="b"}']) == (5, 1)
    assert found['c_created{kind="a"}'] == clock()


def test_a_gauge_forgets_its_old_value() -> None:
    gauge = Gauge("g", "help")
    gauge.set(1, {})
    assert samples(gauge.render()) == {"g": 1}
    gauge.set(0.5, {})
    assert samples(gauge.render()) == {"g": 0.5}


def test_a_summary_has_count_and_sum_by_labels() -> None:
    summary = Summary("s", "help", clock)
    summary.observe(2, {"h": "x"})
    summary.observe(5, {"h": "x"})
    found = samples(summary.render())
    assert (found['s_count{h="x"}'], found['s_sum{h="x"}']) == (2, 7)


@given(st.text(max_size=20))
def test_any_label_value_survives_the_text(value: str) -> None:
    gauge = Gauge("g", "help")
    gauge.set(1, {"name": value})
    ((sample,),) = [f.samples for f in text_string_to_metric_families(gauge.render())]
    assert sample.labels["name"] == value
