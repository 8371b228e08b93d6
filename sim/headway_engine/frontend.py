"""From a checked request to sequences in the engine, and from their progress to an answer.

An exchange is entered with ``with``: leaving it, in whatever way, aborts what is unfinished.
"""

import random
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from headway_engine.adapters import Adapter, Adapters
from headway_engine.answer_plan import plan
from headway_engine.block_hashes import BlockHasher, BlockIdentity
from headway_engine.continuation import Continuation
from headway_engine.driver import EngineDriver
from headway_engine.errors import Busy, Refused, bad_request, model_not_found
from headway_engine.faults import Faults
from headway_engine.generation import Generation, Inbox, Siblings
from headway_engine.metrics import EngineMetrics
from headway_engine.sampling import Sampling
from headway_engine.settings import Settings
from headway_engine.token_blocks import TokenBlocks
from headway_engine.token_ids import TokenIds
from headway_engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asks, and under which names."""

    response_id: str
    model: str
    """As answers repeat it: the served name, or the adapter's."""
    adapter: Adapter | None = None
    session_id: str | None = None
    priority: int = 0
    cache_salt: str | None = None


class Exchange:
    """The sequences of one request, in the order of their choices."""

    def __init__(self, generations: Sequence[Generation], inbox: Inbox) -> None:
        self.generations = generations
        self._inbox = inbox

    @property
    def is_over(self) -> bool:
        return all(g.is_over for g in self.generations)

    async def finished(self) -> None:
        """Raises: Refused: the engine died."""
        while not self.is_over:
            await self._inbox.wait()
        for generation in self.generations:
            if generation.error is not None:
                raise generation.error

    async def progress(self) -> AsyncIterator[list[tuple[int, Generation]]]:
        """What moved since the last time, as (choice, generation), until all are over.

        Tokens that came before the engine died are told first.
        Raises: Refused: the engine died.
        """
        open_choices = dict(enumerate(self.generations))
        while open_choices:
            await self._inbox.wait()
            moved = [(i, g) for i, g in open_choices.items() if g.has_news or g.is_over]
            told = [(i, g) for i, g in moved if g.error is None or g.has_news]
            failed = next((g.error for _, g in moved if g.error is not None), None)
            if told:
                yield told
            if failed is not None:
                raise failed
            for index, generation in moved:
                if generation.is_over:
                    del open_choices[index]


class Frontend:
    def __init__(
        self,
        settings: Settings,
        tokenizer: Tokenizer,
        adapters: Adapters,
        driver: EngineDriver,
        metrics: EngineMetrics,
        faults: Faults,
        rng: random.Random,
    ) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.adapters = adapters
        self._driver = driver
        self._metrics = metrics
        self._faults = faults
        self._rng = rng
        self._hasher = BlockHasher(
            settings.engine.block_tokens,
            settings.flags.prefix_caching_hash_algo,
            settings.hash_seed,
        )

    def served(self, name: str | None) -> tuple[str, Adapter | None]:
        """The name to answer with, and the adapter.  Raises: Refused: 404."""
        names = self.settings.served_names
        if name is None or name in names:
            return names[0], None
        adapter = self.adapters.find(name)
        if adapter is None:
            raise model_not_found(name, names)
        return adapter.name, adapter

    def checked(self, ids: Sequence[int]) -> TokenIds:
        """Token ids that a client has sent.  Raises: Refused: one is not in the vocabulary."""
        if not ids:
            raise bad_request("The decoder prompt cannot be empty", "prompt")
        largest = max(ids)
        if min(ids) < 0 or largest >= self.tokenizer.vocabulary_size:
            raise bad_request(f"Token id {largest} is out of vocabulary")
        return array("I", ids)

    @contextmanager
    def exchange(
        self, prompts: Sequence[TokenIds], sampling: Sampling, call: Call, *, streamed: bool
    ) -> Iterator[Exchange]:
        """Submit every prompt n times.

        Raises:
            Busy: a queue limit, or the fault of that name.
            EngineDead, Refused: see ``EngineDriver.submitted``.
        """
        if self._faults.refusing:
            raise Busy
        inbox = Inbox()
        generations = [
            generation
            for index, prompt in enumerate(prompts)
            for generation in self._samples(index, prompt, sampling, call, inbox, streamed)
        ]
        try:
            submitted = self._driver.submitted(generations)
            with submitted:
                yield Exchange(generations, inbox)
        except Busy:
            self._metrics.rejected()
            raise

    def _samples(
        self,
        index: int,
        prompt: TokenIds,
        sampling: Sampling,
        call: Call,
        inbox: Inbox,
        streamed: bool,
    ) -> Iterator[Generation]:
        siblings = Siblings(sampling.n, sampling.n)
        unique = f"{self._rng.getrandbits(32):08x}"
        for sample in range(sampling.n):
            yield self._generation(
                f"{call.response_id}-{index}-{sample}-{unique}",
                prompt,
                self._salt(call, sampling, sample),
                sampling,
                call,
                Wiring(inbox, siblings, streamed),
            )

    def _generation(
        self,
        engine_id: str,
        prompt: TokenIds,
        salt: str,
        sampling: Sampling,
        call: Call,
        wiring: "Wiring",
    ) -> Generation:
        adapter = call.adapter
        continuation = Continuation(prompt, self.tokenizer.generated_ids, salt)
        answer = plan(continuation, sampling, self.tokenizer, self.settings.flags.output_tokens)
        identity = BlockIdentity(
            adapter=None if adapter is None else adapter.name,
            adapter_path=None if adapter is None else adapter.path,
            cache_salt=call.cache_salt,
        )
        return Generation(
            engine_id=engine_id,
            prompt=prompt,
            continuation=continuation,
            plan=answer,
            blocks=TokenBlocks(self._hasher, identity, prompt, continuation),
            max_tokens=sampling.max_tokens,
            inbox=wiring.inbox,
            siblings=wiring.siblings,
            wake_per_token=wiring.streamed,
            session_id=call.session_id,
            adapter_id=None if adapter is None else adapter.number,
            priority=call.priority,
        )

    def _salt(self, call: Call, sampling: Sampling, sample: int) -> str:
        """What an answer depends on besides its prompt."""
        adapter = "" if call.adapter is None else call.adapter.name
        if sampling.temperature == 0.0:
            return adapter
        seed = self._rng.getrandbits(64) if sampling.seed is None else sampling.seed
        return f"{adapter}/{seed}/{sample}/{sampling.temperature}"


@dataclass(frozen=True, slots=True)
class Wiring:
    inbox: Inbox
    siblings: Siblings
    streamed: bool


def session_of(body_session: str | None, headers: Mapping[str, str]) -> str | None:
    """The body's ``session_id`` goes before the header ``X-Session-ID``."""
    return body_session if body_session is not None else headers.get("X-Session-ID")


def priority_of(body_priority: int, headers: Mapping[str, str]) -> int:
    """An integer in ``X-Vllm-Priority`` goes before the body's; anything else is ignored."""
    try:
        return int(headers.get("X-Vllm-Priority", ""))
    except ValueError:
        return body_priority


__all__ = ["Call", "Exchange", "Frontend", "Refused", "priority_of", "session_of"]
