"""Leases: what is charged comes back, once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from headway_core.estimate.work import NO_WORK, Work
from headway_core.ledger import Ledger
from headway_core.outcomes import Lease


def a_lease(lease_id: int) -> Lease:
    return Lease(lease_id, prefill_tokens=100, prefill_s=0.1)


def charged(**works: int) -> Ledger:
    """A ledger with a lease per name, numbered from 1, all on endpoint "a"."""
    ledger = Ledger()
    for lease_id, tokens in enumerate(works.values(), 1):
        ledger.charge(a_lease(lease_id), "a", Work(tokens, 0), now=lease_id)
    return ledger


def test_a_charge_is_on_its_endpoint_until_it_is_returned() -> None:
    ledger = charged(first=100)
    assert ledger.loads["a"].work.tokens == 100
    assert ledger.release(1, 9.0)
    assert ledger.loads["a"].leases == ledger.outstanding == 0
    assert ledger.loads["a"].work == NO_WORK


def test_a_first_token_ends_the_prefill_part_only() -> None:
    ledger = charged(first=100, second=30)
    assert ledger.prefilled(1, 9.0)
    assert ledger.loads["a"].work.tokens == 30
    assert ledger.loads["a"].leases == 2


@pytest.mark.parametrize("lease_id", [1, 99], ids=["returned before", "never taken"])
def test_a_lease_is_returned_once(lease_id: int) -> None:
    ledger = charged(first=100)
    ledger.release(1, 9.0)
    assert not ledger.release(lease_id, 9.0)
    assert not ledger.prefilled(lease_id, 9.0)
    assert ledger.loads["a"].leases == 0


def test_a_prefill_part_ends_once() -> None:
    ledger = charged(first=100, second=30)
    ledger.prefilled(1, 9.0)
    assert not ledger.prefilled(1, 9.0)
    assert ledger.loads["a"].work.tokens == 30


def test_a_charge_follows_to_another_endpoint() -> None:
    ledger = charged(first=100)
    ledger.move(a_lease(1), "b", Work(100, 0), 9.0)
    assert (ledger.loads["a"].leases, ledger.loads["b"].leases) == (0, 1)
    assert ledger.loads["b"].work.tokens == 100
    assert ledger.outstanding == 1


def test_the_engine_begins_the_next_prompt_when_the_first_has_its_token() -> None:
    ledger = charged(first=100, second=30)
    assert ledger.loads["a"].progress_since == 1.0
    ledger.prefilled(1, 9.0)
    assert ledger.loads["a"].progress_since == 9.0


def test_a_prompt_that_leaves_the_back_of_the_queue_does_not_restart_the_first() -> None:
    ledger = charged(first=100, second=30)
    ledger.release(2, 9.0)
    assert ledger.loads["a"].progress_since == 1.0


def test_a_load_is_forgotten_only_when_nothing_is_charged() -> None:
    ledger = charged(first=100)
    ledger.drop("a")
    assert ledger.loads["a"].leases == 1
    ledger.release(1, 9.0)
    ledger.drop("a")
    assert "a" not in ledger.loads


class Charges(RuleBasedStateMachine):
    """Against a plain list of what is charged where."""

    leases = Bundle("leases")
    endpoints = st.sampled_from("abc")
    tokens = st.integers(1, 10_000)

    @initialize()
    def start(self) -> None:
        self.ledger = Ledger()
        self.where: dict[int, str] = {}
        self.unprefilled: dict[int, int] = {}
        self.issued = 0

    @rule(target=leases, endpoint=endpoints, tokens=tokens)
    def charge(self, endpoint: str, tokens: int) -> int:
        self.issued += 1
        self.ledger.charge(a_lease(self.issued), endpoint, Work(tokens, tokens), 0.0)
        self.where[self.issued], self.unprefilled[self.issued] = endpoint, tokens
        return self.issued

    @rule(lease=leases)
    def prefilled(self, lease: int) -> None:
        was_there = self.unprefilled.pop(lease, None) is not None
        assert self.ledger.prefilled(lease, 0.0) == was_there

    @rule(lease=leases, endpoint=endpoints, tokens=tokens)
    def move(self, lease: int, endpoint: str, tokens: int) -> None:
        if lease in self.where:
            self.ledger.move(a_lease(lease), endpoint, Work(tokens, tokens), 0.0)
            self.where[lease], self.unprefilled[lease] = endpoint, tokens

    @rule(lease=leases)
    def release(self, lease: int) -> None:
        was_there = self.where.pop(lease, None) is not None
        self.unprefilled.pop(lease, None)
        assert self.ledger.release(lease, 0.0) == was_there

    @rule(endpoint=endpoints)
    def drop(self, endpoint: str) -> None:
        self.ledger.drop(endpoint)

    @invariant()
    def sums_match(self) -> None:
        assert self.ledger.outstanding == len(self.where)
        for endpoint in "abc":
            here = [lease for lease, at in self.where.items() if at == endpoint]
            waiting = {
                lease: self.unprefilled[lease] for lease in here if lease in self.unprefilled
            }
            load = self.ledger.loads[endpoint]
            assert load.leases == len(here)
            assert load.unprefilled.keys() == waiting.keys()
            assert load.work == Work(sum(waiting.values()), sum(waiting.values()))


TestCharges = Charges.TestCase
TestCharges.settings = settings(max_examples=50, stateful_step_count=40)
