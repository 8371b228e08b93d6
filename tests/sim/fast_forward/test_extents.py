"""Extents against the literal list: the same hits, evictions, free order and events, always."""

from dataclasses import replace
from random import Random

import pytest

from headway_sim.engine import EngineConfig, EngineEvent, EngineRequest
from headway_sim.engine.kv_cache import KvCache
from headway_sim.engine.sequence import Sequence
from headway_sim.fast_forward.extent_cache import ExtentCache
from headway_sim.testing import block_hash

BLOCK_TOKENS = 4
OPERATIONS = 10_000
CONFIG = EngineConfig(
    num_blocks=40,
    max_num_seqs=100,
    max_num_batched_tokens=100,
    max_model_len=120,
    block_tokens=BLOCK_TOKENS,
)


class Twins:
    """The same requests in both caches, driven as the scheduler does it."""

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        self.config = config
        self.rng = rng
        self.literal, self.extents = KvCache(config), ExtentCache(config, tells=True)
        self.held: list[tuple[Sequence, Sequence]] = []
        self.number = 0
        self.hits = self.evictions = self.refusals = 0

    def step(self) -> None:
        draw = self.rng.random()
        if draw < 0.3 or not self.held:
            self.admit()
        elif draw < 0.75:
            self.grow(self.rng.choice(self.held))
        elif draw < 0.999:
            self.release(self.rng.choice(self.held))
        else:
            for pair in list(self.held):
                self.release(pair)
            assert self.literal.clear() and self.extents.clear()

    def admit(self) -> None:
        pair = self._sequences()
        literal, extents = pair
        hit, same = self.literal.longest_hit(literal), self.extents.longest_hit(extents)
        assert len(hit) == len(same)
        self.hits += len(hit)
        first = min(literal.tokens, len(hit) * BLOCK_TOKENS + self.rng.randint(1, 40))
        must_fit = self.rng.choice([first, literal.tokens])
        admitted = self.literal.admit(literal, hit, first, must_fit=must_fit)
        assert self.extents.admit(extents, same, first, must_fit=must_fit) is admitted
        if admitted:
            for sequence in pair:
                sequence.computed = first
            self.held.append(pair)
        self.refusals += not admitted

    def grow(self, pair: tuple[Sequence, Sequence]) -> None:
        """By a chunk of the prompt, or by a token of the answer."""
        literal, extents = pair
        if literal.computed == literal.tokens:
            if literal.tokens == self.config.max_model_len:
                return
            for sequence in pair:
                sequence.tokens += 1
            end = literal.tokens
        else:
            end = min(literal.tokens, literal.computed + self.rng.randint(1, 40))
        roomy = self.literal.extend(literal, end)
        assert self.extents.extend(extents, end) is roomy
        if roomy:
            for sequence in pair:
                sequence.computed = end
            self.literal.register(literal, end)
            self.extents.register(extents, end)
        self.refusals += not roomy

    def release(self, pair: tuple[Sequence, Sequence]) -> None:
        self.literal.release(pair[0])
        self.extents.release(pair[1])
        self.held.remove(pair)

    def check(self) -> None:
        assert self.literal.pool.free_blocks == self.extents.pool.free_blocks
        assert self.literal.pool.usage == self.extents.pool.usage
        order = [block_hash for _, block_hash in self.literal.pool.free_order()]
        assert self.extents.pool.free_order() == order
        events: list[EngineEvent] = self.literal.publish(0)
        assert self.extents.publish(0) == events
        self.evictions += sum("KvRemoved" in repr(event) for event in events)

    def _sequences(self) -> tuple[Sequence, Sequence]:
        """Of a tree of contents: a few beginnings, each with a few ways to go on, and so on."""
        self.number += 1
        rng = self.rng
        forks = [rng.randint(0, 2) for _ in range(rng.randint(1, 5))]
        edges = [0, *sorted(rng.randint(1, 20) for _ in forks[1:])]

        def hash_of(index: int) -> int:
            depth = sum(edge <= index for edge in edges)
            text = ".".join(f"{e}:{f}" for e, f in zip(edges[:depth], forks[:depth], strict=True))
            return block_hash(text, index)

        prompt_tokens = rng.randint(1, 100)
        request = EngineRequest(
            request_id=str(self.number),
            prompt_tokens=prompt_tokens,
            output_tokens=1,
            block_hashes=tuple(map(hash_of, range(prompt_tokens // BLOCK_TOKENS))),
            output_block_hash=hash_of if rng.random() < 0.7 else None,
        )
        first, second = (Sequence(request, self.config, 0, self.number) for _ in range(2))
        # One that was preempted comes back with its output so far.
        if rng.random() < 0.2:
            first.tokens = second.tokens = rng.randint(prompt_tokens, self.config.max_model_len)
        return first, second


@pytest.mark.parametrize("to_front", [True, False], ids=["0.32's order", "0.15's order"])
@pytest.mark.parametrize("num_blocks", [31, 40, 80, 200, 1000])
def test_extents_are_the_literal_list_in_a_hundred_thousand_operations(
    num_blocks: int, to_front: bool
) -> None:
    config = replace(CONFIG, num_blocks=num_blocks, unhashed_free_to_front=to_front)
    twins = Twins(config, Random(f"{num_blocks} {to_front}"))
    for number in range(OPERATIONS):
        twins.step()
        if number % 10 == 0 or num_blocks < 100:
            twins.check()
    twins.check()
    assert twins.hits > OPERATIONS / 10
    assert twins.evictions > OPERATIONS / 100 or num_blocks == 1000
    assert twins.refusals > OPERATIONS / 100 or num_blocks > 80
