"""From a checked request to sequences in the engine, and from their progress to an answer.

An exchange is entered with ``with``: leaving it, in whatever way, aborts what is unfinished.
"""

import random
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from headway_engine.adapters import Adapter, Adapters
from headway_engine.answer_plan import plan
from headway_engine.block_hashes import BlockHasher, BlockIdentity
from headway_engine.continuation import Continuation
from headway_engine.driver import EngineDriver
from headway_engine.errors import Busy, bad_request, model_not_found
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
        """What moved since the last time, as (choice, generation), until all ends are told.

        Whoever iterates takes tokens of each one named, before awaiting anything else.  Tokens
        that came before the engine died are told first.
        Raises: Refused: the engine died.
        """
        while waiting := [(i, g) for i, g in enumerate(self.generations) if not g.end_is_told]:
            moved = [(i, g) for i, g in waiting if g.has_news or g.finish_reason is not None]
            if moved:
                yield moved
                continue
            for _, generation in waiting:
                if generation.error is not None:
                    raise generation.error
            await self._inbox.wait()


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
        every = self.settings.flags.stream_interval if streamed else None
        generations = [
            generation
            for index, prompt in enumerate(prompts)
            for generation in self._samples(index, prompt, sampling, call, inbox, every)
        ]
        try:
            with self._driver.submitted(generations):
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
        every: int | None,
    ) -> Iterator[Generation]:
        """The n answers to one prompt."""
        siblings = Siblings(sampling.n, sampling.n)
        unique = f"{self._rng.getrandbits(32):08x}"
        adapter = call.adapter
        identity = BlockIdentity(
            adapter=None if adapter is None else adapter.name,
            adapter_path=None if adapter is None else adapter.path,
            cache_salt=call.cache_salt,
        )
        digests = self._hasher.extend(self._hasher.root(), prompt, 0, identity)
        for sample in range(sampling.n):
            salt = self._salt(call, sampling, sample)
            continuation = Continuation(prompt, self.tokenizer.generated_ids, salt)
            yield Generation(
                engine_id=f"{call.response_id}-{index}-{sample}-{unique}",
                prompt=prompt,
                continuation=continuation,
                plan=plan(
                    continuation, sampling, self.tokenizer, self.settings.flags.output_tokens
                ),
                blocks=TokenBlocks(self._hasher, identity, prompt, digests, continuation),
                max_tokens=sampling.max_tokens,
                inbox=inbox,
                siblings=siblings,
                wake_every=every,
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
