"""Builders for tests that drive an engine: requests with known content, steps of known length."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from headway_sim.engine.engine import Engine
from headway_sim.engine.facts import EngineEvent, EngineRequest, FinishReason
from headway_sim.step_model import DecodeLine

MS = 1_000_000
"""Nanoseconds."""


def block_hash(content: str, index: int) -> int:
    """Identity of block ``index`` of a text that begins with ``content``, equal in all runs."""
    return (crc32(content.encode()) << 24) + index


def a_request(
    request_id: str,
    prompt_tokens: int,
    output_tokens: int = 1,
    *,
    content: str | None = None,
    shared_blocks: int = 0,
    shared_content: str = "shared",
    block_tokens: int = 16,
    finish_reason: FinishReason = FinishReason.LENGTH,
    priority: int = 0,
    adapter: str | None = None,
    reusable_output: bool = True,
) -> EngineRequest:
    """A request whose text, output included, is its own unless ``content`` names another.

    Its first ``shared_blocks`` blocks are those of ``shared_content``.
    """
    own = content or request_id

    def hash_of(index: int) -> int:
        return block_hash(shared_content if index < shared_blocks else own, index)

    return EngineRequest(
        request_id=request_id,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        block_hashes=tuple(map(hash_of, range(prompt_tokens // block_tokens))),
        output_block_hash=hash_of if reusable_output else None,
        finish_reason=finish_reason,
        priority=priority,
        adapter=adapter,
    )


@dataclass(slots=True)
class RecordedSteps:
    """A step model whose steps all take ``ms``, and that keeps what was in them, as composed."""

    ms: float = 10.0
    prefill_chunks: list[list[tuple[int, int]]] = field(default_factory=list)
    decodes: list[int] = field(default_factory=list)
    kv_tokens: list[int] = field(default_factory=list)

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        self.prefill_chunks.append(list(prefill_chunks))
        self.decodes.append(decodes)
        self.kv_tokens.append(kv_tokens)
        return self.ms / 1000

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        return DecodeLine(self.ms / 1000, 0.0)


def run_to_end(engine: Engine) -> list[EngineEvent]:
    """Advance from step to step until the engine is idle."""
    events = []
    while (at_ns := engine.next_event_ns()) is not None:
        events += engine.advance(at_ns)
    return events
