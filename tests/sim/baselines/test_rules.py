"""Each baseline against its stated rule, on cases computed by hand."""

from random import Random
from typing import Any

import pytest

from headway_core.events import Finished, FirstToken
from headway_sim.baselines.ring import Ring

ANY = {"a", "b", "c"}
Bench = Any
"""Of conftest.py."""


def test_round_robin_takes_turns(bench: Bench) -> None:
    rule = bench.rule("round-robin")
    assert [bench.pick(rule, bench.a_request([1])) for _ in range(5)] == ["a", "b", "c", "a", "b"]


def test_random_takes_all_alike(bench: Bench) -> None:
    rule = bench.rule("random")
    picks = [bench.pick(rule, bench.a_request([1])) for _ in range(3000)]
    assert all(abs(picks.count(e) - 1000) < 3 * (3000 * 2 / 9) ** 0.5 for e in ANY)


@pytest.mark.parametrize(
    "name",
    [
        "least-requests",
        "least-pending-tokens",
        "min-ttft",
        "max-cached-prefix",
        "lmetric",
        "dynamo",
        "llmd-blend",
        "llmd-sticky-tokens",
        "llmd-sticky-requests",
        "kthena",
        "aibrix-prefix-cache",
        "sglang",
        "sglang-smallest-tree",
        "smg-least-load",
        "preble",
    ],
)
def test_an_idle_pool_is_used_evenly(bench: Bench, name: str) -> None:
    assert bench.picks(name, bench.a_request([1, 2])) == ANY


def test_least_requests_counts_requests_not_tokens(bench: Bench) -> None:
    bench.send("a", prompt=10, times=2)
    bench.send("b", prompt=5000)
    bench.send("c", prompt=10, times=2)
    assert bench.picks("least-requests", bench.a_request([1])) == {"b"}


def test_least_pending_counts_prompt_tokens_without_a_first_token(bench: Bench) -> None:
    bench.send("a", prompt=300)
    bench.send("b", prompt=200)
    bench.send("c", prompt=5000, prefilled=True)
    assert bench.picks("least-pending-tokens", bench.a_request([1])) == {"c"}


@pytest.mark.parametrize(
    ("queued", "winner"),
    [
        pytest.param(299, "a", id="the hit saves more than the queue costs"),
        pytest.param(301, "b", id="not one token beyond"),
    ],
)
def test_min_ttft_adds_queue_and_miss(bench: Bench, queued: int, winner: str) -> None:
    bench.cache("a", [1, 2, 3])
    bench.send("a", prompt=queued)
    bench.send("c", prompt=1000)
    assert bench.picks("min-ttft", bench.a_request([1, 2, 3, 4])) == {winner}


def test_max_cached_prefix_ignores_load(bench: Bench) -> None:
    bench.cache("a", [1, 2, 3])
    bench.cache("b", [1, 2])
    bench.send("a", prompt=10_000, times=50)
    assert bench.picks("max-cached-prefix", bench.a_request([1, 2, 3, 4])) == {"a"}


class TestChwbl:
    def test_a_key_has_a_home_and_leaves_it_at_125_percent_of_the_mean(self, bench: Bench) -> None:
        home, second, _ = Ring(("a", "b", "c"), 256).walk(7)
        request = bench.a_request([7, 8])
        assert bench.picks("chwbl", request) == {home}
        # (total + 1) / 3 * 1.25 with 3 + 2 + 2 = 7 elsewhere: 8 / 3 * 1.25 = 3.33 < 3 + 1.
        bench.send(home, prompt=1, times=3)
        for other in ANY - {home}:
            bench.send(other, prompt=1, times=2)
        assert bench.picks("chwbl", request) == {second}
        assert bench.picks("chwbl", request, load_factor=1.5) == {home}

    def test_only_the_head_is_the_key(self, bench: Bench) -> None:
        rule, deep = bench.rule("chwbl"), bench.rule("chwbl", key_blocks=2)
        prompts = [bench.a_request([7, i]) for i in range(50)]
        assert len({bench.pick(rule, prompt) for prompt in prompts}) == 1
        assert len({bench.pick(deep, prompt) for prompt in prompts}) == 3


class TestSglang:
    def test_a_match_above_the_threshold_wins(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3, 4])
        bench.send("a", prompt=10, times=60)
        ten = [1, 2, 3, 4, 15, 16, 17, 18, 19, 20]
        assert bench.picks("sglang", bench.a_request(ten)) == {"a"}
        assert bench.picks("sglang", bench.a_request(ten), cache_threshold=0.4) == {"b", "c"}

    @pytest.mark.parametrize(
        ("loads", "winners"),
        [
            pytest.param({"a": 65, "b": 1, "c": 2}, {"a"}, id="64 apart: still affine"),
            pytest.param({"a": 66, "b": 1, "c": 2}, {"b"}, id="65 apart: fewest requests"),
            pytest.param({"a": 195, "b": 130, "c": 140}, {"a"}, id="not above 1.5 times the least"),
            pytest.param({"a": 196, "b": 130, "c": 140}, {"b"}, id="above 1.5 times the least"),
        ],
    )
    def test_it_balances_when_loads_are_far_apart(
        self, bench: Bench, loads: dict[str, int], winners: set[str]
    ) -> None:
        bench.cache("a", [1, 2])
        for endpoint, times in loads.items():
            bench.send(endpoint, prompt=1, times=times)
        assert bench.picks("sglang", bench.a_request([1, 2])) == winners

    def test_a_miss_goes_to_the_fewest_requests_or_to_the_smallest_tree(self, bench: Bench) -> None:
        sizes = {"a": 500, "b": 300, "c": 400}
        for name, winner in (("sglang", "c"), ("sglang-smallest-tree", "b")):
            rule = bench.rule(name)
            rule._tree_tokens.update(sizes)
            if name == "sglang":
                bench.send("a", prompt=1, times=2)
                bench.send("b", prompt=1, times=2)
            assert bench.pick(rule, bench.a_request([50, 51])) == winner
            assert rule._tree_tokens[winner] == sizes[winner] + 200


def test_smg_least_load_is_seconds_of_tokens_and_of_kv_pressure(bench: Bench) -> None:
    bench.send("a", prompt=1000)  # 0.5 s
    bench.scrape("b", kv_usage=0.75)  # 0.15 * 3 = 0.45 s
    bench.scrape("c", kv_usage=0.80)  # 0.15 * 4 = 0.60 s
    assert bench.picks("smg-least-load", bench.a_request([1])) == {"b"}
    assert bench.picks("smg-least-load", bench.a_request([1]), kv_weight_s=0.2) == {"a"}


class TestPreble:
    def test_it_exploits_a_hit_of_more_than_half(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3])
        rule = bench.rule("preble")
        rule._cost_s["a"] = 100.0
        assert bench.pick(rule, bench.a_request([1, 2, 3, 4])) == "a"

    def test_otherwise_recent_work_and_own_prefill_are_least(self, bench: Bench) -> None:
        bench.cache("a", [1])
        rule = bench.rule("preble")
        # prompt 400: a 0.3 s, b and c 0.4 s of own prefill
        rule._cost_s.update(a=0.2, b=0.05, c=0.3)
        assert bench.pick(rule, bench.a_request([1, 5, 6, 7])) == "b"

    def test_work_is_forgotten_after_three_minutes(self, bench: Bench) -> None:
        rule = bench.rule("preble")
        first = bench.pick(rule, bench.a_request([1]), now=0.0)
        # 100 tokens at 1,000/s, and 256 output tokens at 2 ms
        assert rule._cost_s[first] == pytest.approx(0.1 + 0.512)
        others = {bench.pick(rule, bench.a_request([9]), now=1.0) for _ in range(2)}
        assert others == ANY - {first}
        bench.pick(rule, bench.a_request([9]), now=180.5)
        assert rule._cost_s[first] in (0.0, pytest.approx(0.612))
        assert len(rule._sent) == 3


def test_lmetric_multiplies_work_and_batch(bench: Bench) -> None:
    bench.cache("a", [1, 2, 3])
    bench.send("a", prompt=1, times=3, prefilled=True)  # 100 * 4 = 400
    bench.send("c", prompt=1, prefilled=True)  # 400 * 2 = 800
    bench.send("b", prompt=50)  # 450 * 2 = 900
    assert bench.picks("lmetric", bench.a_request([1, 2, 3, 4])) == {"a"}
    bench.send("a", prompt=1, times=5, prefilled=True)  # 100 * 9 = 900
    assert bench.picks("lmetric", bench.a_request([1, 2, 3, 4])) == {"c"}


class TestDynamo:
    def test_prefill_less_the_credit_plus_decode_blocks(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3])
        bench.send("a", prompt=140, prefilled=True)
        # own 400: a (400 - 300) + (140 + 400), b and c 400 + 400, in tokens
        request = bench.a_request([1, 2, 3, 4])
        assert bench.picks("dynamo", request) == {"a"}
        bench.send("a", prompt=161, prefilled=True)  # 100 + 701 > 800
        assert bench.picks("dynamo", request) == {"b", "c"}
        assert bench.picks("dynamo", request, overlap_credit=1.01) == {"a"}
        assert bench.picks("dynamo", request, prefill_load_scale=2.0) == {"a"}

    def test_credit_beyond_the_prefill_is_worth_nothing_more(self, bench: Bench) -> None:
        bench.cache("a", [1, 2])
        bench.send("a", prompt=150, prefilled=True)
        request = bench.a_request([1, 2, 3])
        # a: max(0, 300 - 1.5 * 200) + 450; with credit 9 the same: 450 < 600
        for credit in (1.5, 9.0):
            assert bench.picks("dynamo", request, overlap_credit=credit) == {"a"}

    def test_a_temperature_spreads_by_the_range_of_the_costs(self, bench: Bench) -> None:
        bench.send("a", prompt=400, prefilled=True)
        bench.send("b", prompt=200, prefilled=True)
        rule = bench.rule("dynamo", temperature=0.5)
        picks = [bench.pick(rule, bench.a_request([1])) for _ in range(4000)]
        # p ~ exp(-(v - min) / (max - min) / 0.5) = e^-2, e^-1, 1
        total = 1 + 2.718281828**-1 + 2.718281828**-2
        assert picks.count("c") / 4000 == pytest.approx(1 / total, abs=0.025)
        assert picks.count("a") / 4000 == pytest.approx(2.718281828**-2 / total, abs=0.025)


class TestLlmD:
    def test_the_blend_weighs_prefix_queue_and_kv_3_2_2(self, bench: Bench) -> None:
        bench.cache("a", [1, 2])
        bench.scrape("a", waiting=10, kv_usage=0.5)  # 3 * 0.5 + 2 * 0 + 2 * 0.5 = 2.5
        bench.scrape("b", waiting=5, kv_usage=0.5)  # 0 + 2 * 0.5 + 2 * 0.5 = 2.0
        bench.scrape("c", waiting=0, kv_usage=0.8)  # 0 + 2 * 1 + 2 * 0.2 = 2.4
        request = bench.a_request([1, 2, 3, 4])
        assert bench.picks("llmd-blend", request) == {"a"}
        assert bench.picks("llmd-blend", request, prefix_weight=2.7) == {"c"}

    def test_endpoints_without_metrics_come_after_known_ones(self, bench: Bench) -> None:
        bench.scrape("b", waiting=3, kv_usage=0.9)
        assert bench.picks("llmd-blend", bench.a_request([1])) == {"b"}

    @pytest.mark.parametrize("name", ["llmd-sticky-tokens", "llmd-sticky-requests"])
    @pytest.mark.parametrize(
        ("pending", "sticks"), [(286_704, True), (286_705, False)], ids=["18 s", "longer"]
    )
    def test_it_sticks_until_that_costs_18_seconds(
        self, bench: Bench, name: str, pending: int, sticks: bool
    ) -> None:
        bench.cache("a", [1, 2, 3, 4])
        bench.send("a", prompt=pending)
        picks = bench.picks(name, bench.a_request([1, 2, 3, 4, 5]))
        assert picks == ({"a"} if sticks else {"b", "c"})

    def test_below_80_percent_there_is_nothing_to_stick_to(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3])
        bench.send("a", prompt=1)
        assert bench.picks("llmd-sticky-tokens", bench.a_request([1, 2, 3, 4])) == {"b", "c"}

    def test_the_two_forms_differ_in_what_they_balance(self, bench: Bench) -> None:
        bench.send("a", prompt=10, times=3)
        bench.send("b", prompt=500)
        bench.send("c", prompt=600)
        bench.send("c", prompt=1, prefilled=True)
        request = bench.a_request([1])
        assert bench.picks("llmd-sticky-tokens", request) == {"a"}
        assert bench.picks("llmd-sticky-requests", request) == {"b"}


class TestAibrix:
    def test_the_longest_match_within_one_deviation_of_the_mean(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3])
        bench.cache("b", [1, 2])
        for endpoint, times in (("a", 8), ("b", 4), ("c", 0)):
            bench.send(endpoint, prompt=1, times=times)
        # mean 4, sigma 3.27: a is above 7.27
        assert bench.picks("aibrix-prefix-cache", bench.a_request([1, 2, 3])) == {"b"}
        assert bench.picks("aibrix-prefix-cache", bench.a_request([1, 2, 3]), deviations=2.0) == {
            "a"
        }

    def test_more_than_eight_apart_is_an_imbalance(self, bench: Bench) -> None:
        bench.cache("a", [1, 2, 3])
        bench.send("a", prompt=1, times=9)
        bench.send("b", prompt=1)
        assert bench.picks("aibrix-prefix-cache", bench.a_request([1, 2, 3])) == {"c"}

    def test_without_a_match_it_is_least_request(self, bench: Bench) -> None:
        bench.send("a", prompt=1)
        assert bench.picks("aibrix-prefix-cache", bench.a_request([1, 2])) == {"b", "c"}


class TestKthena:
    def test_endpoints_with_a_queue_of_ten_are_left_out(self, bench: Bench) -> None:
        bench.cache("a", [1, 2])
        bench.scrape("a", waiting=10, kv_usage=0.0)
        bench.scrape("b", waiting=9, kv_usage=0.0)
        bench.scrape("c", waiting=9, kv_usage=0.5)
        assert bench.picks("kthena", bench.a_request([1, 2])) == {"b"}

    def test_a_request_that_does_not_run_yet_counts_a_hundredfold(self, bench: Bench) -> None:
        bench.send("a", prompt=1, times=3)
        bench.scrape("a", running=3, kv_usage=0.0)  # 3 + 0 = 3 of 101
        bench.send("b", prompt=1)
        bench.scrape("b", running=0, kv_usage=0.0)  # 1 + 100 = 101
        bench.send("c", prompt=1, times=4)
        bench.scrape("c", running=4, kv_usage=0.0)  # 4 of 101
        assert bench.picks("kthena", bench.a_request([1])) == {"a"}

    def test_equal_weights_add_up(self, bench: Bench) -> None:
        bench.cache("a", [1, 2])
        bench.scrape("a", kv_usage=0.6)  # prefix 0.5 + gpu 0.4 = 0.9
        bench.scrape("b", kv_usage=0.2)  # gpu 0.8
        bench.scrape("c", kv_usage=0.0)  # gpu 1.0
        assert bench.picks("kthena", bench.a_request([1, 2, 3, 4])) == {"c"}
        bench.scrape("c", kv_usage=0.2)
        assert bench.picks("kthena", bench.a_request([1, 2, 3, 4])) == {"a"}

    def test_the_quicker_endpoint_scores_for_latency(self, bench: Bench) -> None:
        for endpoint, ttft_s in (("a", 0.5), ("b", 0.1), ("c", 0.3)):
            (request_id,) = bench.send(endpoint, prompt=1)
            bench.views.observe(FirstToken(request_id, endpoint), ttft_s)
            bench.views.observe(Finished(request_id), ttft_s)
        assert bench.picks("kthena", bench.a_request([1])) == {"b"}


def test_a_tie_is_broken_by_the_seed_and_by_nothing_else(bench: Bench) -> None:
    picks = []
    for _ in range(2):
        bench.rng = Random(5)
        rule = bench.rule("least-requests")
        picks.append([bench.pick(rule, bench.a_request([1])) for _ in range(20)])
    assert picks[0] == picks[1]
