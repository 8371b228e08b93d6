"""What was sent to engines whose caches are followed, by the id that their events repeat."""

from collections import OrderedDict, deque
from dataclasses import dataclass

from headway_core.facts import EndpointId, InferenceRequest
from headway_router.openai.blocks import BLOCK_BYTES
from headway_router.openai.ratios import TokenRatios

MAX_PROMPTS = 50_000
MAX_BLOCKS = 1_000_000
"""Of all remembered prompts: 256 M tokens.  The oldest prompts are forgotten first."""

LEARN_AFTER_S = 2.0
"""After the end of a request its last events have come; an answer overtakes them easily."""
LEARN_FROM_BLOCKS = 4
"""A prompt has at least so many of our blocks, and eight of the engine's, to say something of the
ratio: what is rounded away at its end then counts little."""
LEARN_FROM_ENGINE_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the request's own blocks begin on an engine: what comes before was cached there."""

    endpoint_id: EndpointId
    tokens: int
    blocks: float
    """Of ours, that those tokens are."""
    known: int
    """Of ours, that other prompts had brought there."""


class Prompt:
    """One request's prompt, in our blocks, and what an engine's events say of its length.

    A step of prefill fills many engine blocks, a step of decoding at most one: the prompt reaches
    about as deep as the last event with several.
    """

    __slots__ = (
        "_block_tokens",
        "_content_bytes",
        "_is_decoding",
        "_is_repeated",
        "_stored_tokens",
        "anchor",
        "block_tokens",
        "blocks",
        "has_first_token",
        "model",
        "prefill_tokens",
        "tokens_per_block",
    )

    def __init__(self, model: str, request: InferenceRequest) -> None:
        self.model = model
        self.blocks = request.blocks
        self.block_tokens = request.block_tokens
        """What a block counts as, whatever its true size."""
        self._content_bytes = request.content_bytes
        self.tokens_per_block = float(request.block_tokens)
        """As far as is known."""
        if request.content_bytes and request.prompt_tokens:
            self.tokens_per_block = request.prompt_tokens / request.content_bytes * BLOCK_BYTES
        self.anchor: Anchor | None = None
        self.prefill_tokens = 0
        self.has_first_token = False
        self._stored_tokens = self._block_tokens = 0
        self._is_decoding = self._is_repeated = False

    def stored(self, start: int, blocks: int, block_tokens: int) -> None:
        """So many engine blocks from token ``start`` on are stored for it."""
        if start < self._stored_tokens:
            self._is_repeated = True  # It was preempted: answer and prompt come back together.
        self._stored_tokens = start + blocks * block_tokens
        self._block_tokens = block_tokens
        if blocks > 1:
            self.prefill_tokens, self._is_decoding = self._stored_tokens, False
        elif self.prefill_tokens:
            self._is_decoding = True

    def evidence(self) -> tuple[int, int] | None:
        """Bytes and tokens of its prompt; None: not known, or no text that was estimated.

        The last block is full on average by half, and was not stored.
        """
        size = self._content_bytes
        if size is None or self._is_repeated:
            return None
        if not (self._is_decoding or self.has_first_token):
            return None  # The client may have left before all of it was prefilled.
        if len(self.blocks) < LEARN_FROM_BLOCKS:
            return None
        if self.prefill_tokens < LEARN_FROM_ENGINE_BLOCKS * max(1, self._block_tokens):
            return None
        return size, self.prefill_tokens + self._block_tokens // 2


class Prompts:
    """Bounded; the events of a forgotten request are those of a stranger."""

    def __init__(
        self, ratios: TokenRatios, *, max_prompts: int = MAX_PROMPTS, max_blocks: int = MAX_BLOCKS
    ) -> None:
        self._ratios = ratios
        self._max_prompts = max_prompts
        self._max_blocks = max_blocks
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._blocks = 0
        self._ended: deque[tuple[float, Prompt]] = deque()

    def __len__(self) -> int:
        return len(self._prompts)

    def sent(self, model: str, request: InferenceRequest) -> None:
        """``model`` is the pool's: the key of the learned ratio."""
        self._forget(request.request_id)
        self._prompts[request.request_id] = Prompt(model, request)
        self._blocks += len(request.blocks)
        while len(self._prompts) > self._max_prompts or self._blocks > self._max_blocks:
            self._forget(next(iter(self._prompts)))

    def get(self, session_id: str) -> Prompt | None:
        return self._prompts.get(session_id)

    def ended(self, request_id: str, now: float, *, has_first_token: bool) -> None:
        """Its response is complete, or the client has gone; its last events may still come.

        Those that ended a while before it calibrate the tokens per byte.
        """
        prompt = self._prompts.get(request_id)
        if prompt is not None:
            prompt.has_first_token = has_first_token
            self._ended.append((now, prompt))
        while self._ended and self._ended[0][0] + LEARN_AFTER_S <= now:
            _, settled = self._ended.popleft()
            if (evidence := settled.evidence()) is not None:
                self._ratios.learn(settled.model, *evidence)

    def _forget(self, request_id: str) -> None:
        if gone := self._prompts.pop(request_id, None):
            self._blocks -= len(gone.blocks)
