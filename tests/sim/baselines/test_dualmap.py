"""DualMap's rules, on cases computed by hand."""

from dataclasses import replace
from random import Random

import pytest

from headway_core.events import Cancelled, Event, Finished, FirstToken, Unreachable
from headway_core.facts import InferenceRequest, Slo
from headway_core.policy import Fleet
from headway_sim.baselines import BASELINES
from headway_sim.baselines.dualmap import DualMap, Primary
from headway_sim.baselines.dualmap.key import HotDetector, LazyPrefixes, rolling
from headway_sim.baselines.dualmap.queues import Queue, Waiting
from headway_sim.baselines.dualmap.rebalance import Load, rebalance
from headway_sim.baselines.ring import Ring
from headway_sim.pickers import Refused, Sent, Waits
from headway_sim.views import Views
from headway_sim.world.testing import a_fleet

NAMES = ["a", "b", "c", "d"]
BLOCK = 100


def a_request(name: str, *blocks: int, prompt: int | None = None) -> InferenceRequest:
    return InferenceRequest(
        request_id=name,
        requested_model="m",
        prompt_tokens=BLOCK * len(blocks) if prompt is None else prompt,
        blocks=blocks,
        block_tokens=BLOCK,
    )


class TestKey:
    def test_the_hash_rolls_over_the_blocks(self) -> None:
        assert rolling([5]) == 5
        assert rolling([5, 7]) == 5 * 1315423911 + 7
        assert rolling([2**63, 2]) == (2**63 * 1315423911 + 2) % 2**64

    def test_a_prefix_is_hot_from_its_share_of_the_window_on(self) -> None:
        detector = HotDetector(window=100, hot_ratio=0.0612, min_samples=20)
        assert [detector.observe(1)[0] for _ in range(20)] == [False] * 19 + [True]
        for other in range(1000, 1093):
            detector.observe(other)
        # 93 others and 7 of the first are in the window: an eighth makes 0.07.
        assert detector.observe(1) == (True, 0.07)
        assert detector.observe(5000) == (False, 0.01)

    def test_a_hot_prefix_is_hashed_one_block_deeper_from_the_next_request_on(self) -> None:
        prefixes = LazyPrefixes(HotDetector(window=200, hot_ratio=0.5, min_samples=4))
        keys = [prefixes.key([1, 10 + i, 99]) for i in range(4)]
        assert keys == [rolling([1])] * 4
        assert prefixes.depth([1, 50, 99]) == 2
        assert prefixes.key([1, 50, 99]) == rolling([1, 50])
        assert prefixes.depth([2, 50, 99]) == 1

    def test_a_prompt_of_one_block_cannot_be_expanded(self) -> None:
        prefixes = LazyPrefixes(HotDetector(hot_ratio=0.0, min_samples=1))
        assert [prefixes.key([1]) for _ in range(9)] == [rolling([1])] * 9

    def test_the_shrink_of_the_released_code_finds_nothing_to_delete(self) -> None:
        prefixes = LazyPrefixes(HotDetector(window=60, hot_ratio=0.5, min_samples=1))
        prefixes.key([1, 2, 3])
        assert prefixes.depth([1, 2, 3]) == 2
        for other in range(100, 200):
            prefixes.key([other])
        prefixes.key([1, 2, 3])  # Its parent's share is 1 in 60, below 0.02.
        assert prefixes.depth([1, 2, 3]) == 2


def test_a_queue_goes_by_longest_prefix_then_arrival() -> None:
    queue = Queue()
    for number, (name, hit, arrived) in enumerate(
        [("x", 100, 1.0), ("y", 300, 2.0), ("z", 100, 0.5), ("w", 300, 2.0)]
    ):
        queue.add(Waiting(a_request(name, prompt=400), ("a", "b"), arrived, number, "a", hit))
    assert queue.miss_tokens == 300 + 100 + 300 + 100
    assert queue.oldest() == 0.5
    assert queue.ahead((-100, 0.7, 9)) == 100 + 100 + 300
    assert [queue.pop().request.request_id for _ in range(4)] == ["y", "w", "z", "x"]
    assert queue.miss_tokens == 0


def a_load(now: float = 0.0, limit: float = 500.0) -> Load:
    pool = a_fleet(NAMES, prefill_tokens_per_s=1000.0).pools[0]
    views = Views(pool, sees_first_tokens=True)
    queues = {name: Queue() for name in NAMES}
    return Load(NAMES, queues, views, lambda _: limit, 3.0, now)


def waits(
    load: Load, at: str, name: str, prompt: int, pair: tuple[str, str], arrived: float = 0.0
) -> None:
    number = sum(map(len, load.queues.values()))
    load.queues[at].add(Waiting(a_request(name, prompt=prompt), pair, arrived, number, at, 0))


def names(load: Load, at: str) -> list[str]:
    return [entry.request.request_id for entry in load.queues[at]]


class TestRebalance:
    def test_the_largest_gain_moves_to_the_other_candidate_until_the_excess_is_gone(self) -> None:
        load = a_load()
        for i in range(4):
            waits(load, "a", f"r{i}", 200, ("a", "b"))
        assert load.is_overloaded("a")
        rebalance(load, "a")
        # 300 over the limit; the last has 600 before it at a and nothing at b, then the next.
        assert names(load, "a") == ["r0", "r1"]
        assert sorted(names(load, "b")) == ["r2", "r3"]

    def test_nothing_moves_where_it_would_come_later(self) -> None:
        load = a_load(limit=100.0)
        waits(load, "a", "r0", 60, ("a", "b"))
        waits(load, "a", "r1", 60, ("a", "b"))
        load.views.sent(a_request("x", prompt=90), "b", 0.0)
        load.views.sent(a_request("y", prompt=90), "d", 0.0)
        rebalance(load, "a")
        # b would be overloaded; so c is tried, the next after b as b is next after a.
        assert names(load, "a") == ["r0"]
        assert names(load, "c") == ["r1"]

    def test_a_request_without_a_place_that_stays_below_the_limit_stays(self) -> None:
        load = a_load(limit=100.0)
        waits(load, "a", "r0", 80, ("a", "b"))
        waits(load, "a", "r1", 80, ("a", "b"))
        for other in "bc":
            load.views.sent(a_request(f"x{other}", prompt=90), other, 0.0)
        rebalance(load, "a")
        assert names(load, "a") == ["r0", "r1"]

    def test_the_last_of_a_queue_never_moves(self) -> None:
        load = a_load(limit=10.0)
        waits(load, "a", "r0", 5, ("a", "b"))
        rebalance(load, "a")
        assert names(load, "a") == ["r0"]

    def test_waiting_for_three_seconds_is_an_overload_too(self) -> None:
        load = a_load(now=3.0)
        waits(load, "a", "r0", 1, ("a", "b"), arrived=0.1)
        assert not load.is_overloaded("a")
        waits(load, "b", "r1", 1, ("a", "b"), arrived=0.0)
        assert load.is_overloaded("b")


def a_dualmap(
    primary: Primary = Primary.SLO_AWARE, *, rebalances: bool = False, slo: Slo | None = None
) -> DualMap:
    picker = DualMap(Random(0), True, primary=primary, rebalances=rebalances, slo_s=1.0)
    picker.apply(a_fleet(NAMES, slo=slo, prefill_tokens_per_s=1000.0), 0.0)
    return picker


def the_pair(key: int) -> tuple[str, str]:
    a, b = (Ring(NAMES, 160, number).owner(rolling([key])) for number in (1, 2))
    return a, (b if b != a else NAMES[(NAMES.index(a) + 1) % 4])


def view(picker: DualMap) -> Views:
    assert picker._views is not None
    return picker._views


def busy(picker: DualMap, endpoint: str, tokens: int) -> None:
    """Something without a first token is in that engine."""
    view(picker).sent(a_request(f"busy {endpoint} {tokens}", prompt=tokens), endpoint, 0.0)


def cached(picker: DualMap, endpoint: str, *blocks: int) -> None:
    views, name = view(picker), f"cached {endpoint}"
    views.sent(a_request(name, *blocks), endpoint, 0.0)
    views.observe(Finished(name), 0.0)


def standing(picker: DualMap, name: str) -> str:
    """The endpoint that it waits for, or was sent to."""
    waiting = picker._waiting.get(name)
    return waiting.at if waiting else view(picker)._in_flight[name].endpoint_id


class TestChoice:
    """Key 1, 400 tokens at 1,000/s, of which 300 are cached at the first of the pair."""

    @pytest.mark.parametrize(
        ("primary", "pending", "choice"),
        [
            pytest.param(Primary.SLO_AWARE, (400, 0), 0, id="affine up to half the SLO"),
            pytest.param(Primary.SLO_AWARE, (401, 0), 1, id="beyond it, the least TTFT"),
            pytest.param(Primary.SLO_AWARE, (401, 102), 0, id="which may be the affine one"),
            pytest.param(Primary.CACHE_AFFINITY, (9000, 0), 0, id="affinity only"),
            pytest.param(Primary.LEAST_LOADED, (1, 0), 1, id="load only"),
            pytest.param(Primary.MIN_TTFT, (299, 0), 0, id="TTFT counts the hit"),
            pytest.param(Primary.MIN_TTFT, (301, 0), 1, id="and the queue"),
        ],
    )
    def test_within_the_pair(self, primary: Primary, pending: tuple[int, int], choice: int) -> None:
        picker, pair = a_dualmap(primary), the_pair(1)
        cached(picker, pair[0], 1, 2, 3)
        for endpoint, tokens in zip(pair, pending, strict=True):
            if tokens:
                busy(picker, endpoint, tokens)
        picker.place(a_request("r", 1, 2, 3, 4), 0.0)
        at = (
            picker._waiting["r"].at
            if "r" in picker._waiting
            else view(picker)._in_flight["r"].endpoint_id
        )
        assert at == pair[choice]

    def test_the_slo_is_the_pools_if_it_has_one(self) -> None:
        picker, pair = a_dualmap(slo=Slo(ttft_s=2.0)), the_pair(1)
        cached(picker, pair[0], 1, 2, 3)
        busy(picker, pair[0], 900)
        assert picker.place(a_request("r", 1, 2, 3, 4), 0.0) == Waits("r")
        assert picker._waiting["r"].at == pair[0]

    def test_a_pair_has_two_members_even_if_the_rings_agree(self) -> None:
        picker = a_dualmap()
        for key in range(200):
            a, b = picker._pair(a_request("r", key))
            assert a != b and {a, b} == set(the_pair(key))


class TestDispatch:
    def test_one_request_without_a_first_token_at_a_time(self) -> None:
        picker, pair = a_dualmap(Primary.CACHE_AFFINITY), the_pair(1)
        cached(picker, pair[0], 1)
        first = picker.place(a_request("r0", 1, 20), 0.0)
        assert isinstance(first, Sent) and first.endpoint_id == pair[0]
        assert picker.place(a_request("r1", 1, 30), 0.0) == Waits("r1")
        assert picker.place(a_request("r2", 1, 20, 40), 0.0) == Waits("r2")
        # The longer cached prefix goes first, though it came later.
        (answer,) = picker.observe(FirstToken("r0", pair[0]), 1.0)
        assert (answer.request_id, type(answer)) == ("r2", Sent)
        (answer,) = picker.observe(Finished("r2"), 2.0)
        assert answer.request_id == "r1"

    def test_one_that_is_cancelled_leaves_the_queue(self) -> None:
        picker = a_dualmap()
        pair = the_pair(1)
        for endpoint in pair:
            busy(picker, endpoint, 10)
        assert picker.place(a_request("r", 1), 0.0) == Waits("r")
        picker.observe(Cancelled("r"), 1.0)
        released: list[Event] = [FirstToken(f"busy {endpoint} 10") for endpoint in pair]
        assert [picker.observe(event, 2.0) for event in released] == [[], []]

    def test_the_queue_of_an_endpoint_that_is_gone_is_routed_anew(self) -> None:
        picker, pair = a_dualmap(Primary.CACHE_AFFINITY), the_pair(1)
        cached(picker, pair[0], 1)
        busy(picker, pair[0], 10)
        assert picker.place(a_request("r", 1), 0.0) == Waits("r")
        (answer,) = picker.observe(Unreachable(pair[0]), 1.0)
        assert isinstance(answer, Sent) and answer.endpoint_id != pair[0]

    def test_without_any_endpoint_what_waits_is_refused(self) -> None:
        picker = a_dualmap()
        for endpoint in NAMES:
            busy(picker, endpoint, 10)
        picker.place(a_request("r", 1), 0.0)
        fleet = a_fleet(NAMES)
        empty = Fleet(pools=(replace(fleet.pools[0], endpoints=()),))
        assert picker.apply(empty, 1.0) == [Refused("r", "no-endpoints")]
        assert picker.place(a_request("s", 1), 1.0) == Refused("s", "no-endpoints")

    def test_an_overload_of_both_candidates_sends_the_queue_elsewhere(self) -> None:
        picker, pair = a_dualmap(rebalances=True), the_pair(1)
        for endpoint in pair:
            busy(picker, endpoint, 600)
        for i in range(4):
            picker.place(a_request(f"r{i}", 1, 50 + i), 0.0)
        picker.tick(0.1)
        placed = {standing(picker, f"r{i}") for i in range(4)}
        assert set(pair) == {"c", "d"}
        assert placed - set(pair) == {"a"}  # The next instance that is not of the pair.


def test_the_ablations_are_what_their_names_say() -> None:
    settings = {
        name: (picker.primary, picker.rebalances)
        for name, baseline in BASELINES.items()
        if isinstance(
            picker := baseline.picker(Random(0), sees_first_tokens=True, parameters={}), DualMap
        )
    }
    assert settings == {
        "dualmap": (Primary.SLO_AWARE, True),
        "dualmap-no-rebalance": (Primary.SLO_AWARE, False),
        "dualmap-least-loaded": (Primary.LEAST_LOADED, False),
        "dualmap-cache-affinity": (Primary.CACHE_AFFINITY, False),
        "dualmap-min-ttft": (Primary.MIN_TTFT, False),
    }
