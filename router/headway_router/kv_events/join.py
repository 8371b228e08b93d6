"""One engine's cache, joined to our blocks by request.

An engine hashes tokens, we hash bytes.  Each of its blocks has a request (the session id that we
sent) and, along the chain of parents, a depth in tokens; by the request's tokens per block that is
one of ours.  Only new blocks are told, so where a request's own begin, its prompt was cached up to
there: that ties depths to blocks however wrong the ratio is (`Anchor`).

The same block may be stored twice, when two requests compute it side by side: it is gone with the
last of its copies.  A block of ours is gone with the last engine block that lies in it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared
from headway_core.facts import EndpointId
from headway_router.kv_events.outcomes import StoredOutcome
from headway_router.kv_events.prompts import Anchor, Prompt
from headway_router.kv_events.tree import BlockTree
from headway_router.kv_events.wire import Cleared, KvEvent, Removed, Stored

CacheEvent = BlocksStored | BlocksRemoved | CacheCleared

MAX_ENGINE_BLOCKS = 1_000_000
"""16 M tokens at 16 a block.  An engine that names more has lost us removals."""


@dataclass(slots=True)
class _EngineBlock:
    parent: int | None
    start: int
    """Tokens before it."""
    copies: int = 1
    ours: int | None = None
    """The block of ours that it lies in; None: of a stranger's request, or of an answer."""


class Overflow(Exception):
    """More blocks are held than an engine can hold."""


class EngineCache:
    """What one process of an engine has told.  ``prompt_of`` finds a prompt by session id."""

    def __init__(
        self,
        endpoint_id: EndpointId,
        prompt_of: Callable[[str], Prompt | None],
        *,
        max_blocks: int = MAX_ENGINE_BLOCKS,
    ) -> None:
        self._endpoint_id = endpoint_id
        self._prompt_of = prompt_of
        self._max_blocks = max_blocks
        self._blocks: dict[int, _EngineBlock] = {}
        self._tree = BlockTree()
        self._names_sessions = False
        self._stored_blocks: Counter[StoredOutcome] = Counter()

    def __len__(self) -> int:
        """Engine blocks that it holds."""
        return len(self._blocks)

    def take_stored(self) -> Counter[StoredOutcome]:
        """Engine blocks stored since it was last asked, by what they were joined to."""
        taken, self._stored_blocks = self._stored_blocks, Counter()
        return taken

    def apply(self, event: KvEvent) -> CacheEvent | None:
        """What the event says of our blocks; None: nothing.

        Raises: Overflow: nothing that this engine told can be relied on.
        """
        match event:
            case Stored():
                return self._stored(event)
            case Removed():
                return self._removed(event)
            case Cleared():
                self.forget()
                return CacheCleared(self._endpoint_id)

    def forget(self) -> None:
        """What was told holds no more, and nothing is known of what holds instead."""
        self._blocks.clear()
        self._tree = BlockTree()

    def restarted(self) -> CacheCleared:
        """Another process has taken its place."""
        self.forget()
        self._names_sessions = False
        return CacheCleared(self._endpoint_id)

    def _stored(self, event: Stored) -> BlocksStored | None:
        start = self._start(event)
        prompt = None
        if event.session_id is not None:
            self._names_sessions = True
            prompt = self._prompt_of(event.session_id)
        self._stored_blocks[self._outcome(prompt, start)] += len(event.blocks)
        if start is None:
            return None
        if prompt is None or not prompt.blocks:
            self._keep(event, start, None)
            return None
        prompt.stored(start, len(event.blocks), event.block_tokens)
        anchor = self._anchor(prompt, start)
        self._tree.add(prompt.blocks)
        self._adopt(event.parent, prompt, anchor)
        self._keep(event, start, (prompt, anchor))
        end = start + len(event.blocks) * event.block_tokens
        covered = prompt.blocks[: _depth(prompt, anchor, end)]
        if not self._tree.hold(covered):
            return None
        return BlocksStored(self._endpoint_id, covered, prompt.block_tokens)

    def _start(self, event: Stored) -> int | None:
        """Tokens before the chain; None: its parent is not known."""
        if event.parent is None:
            return 0
        parent = self._blocks.get(event.parent)
        return None if parent is None else parent.start + event.block_tokens

    def _outcome(self, prompt: Prompt | None, start: int | None) -> StoredOutcome:
        if prompt is None:
            is_told = self._names_sessions
            return StoredOutcome.FOREIGN if is_told else StoredOutcome.NO_SESSION
        return StoredOutcome.UNKNOWN_PARENT if start is None else StoredOutcome.JOINED

    def _anchor(self, prompt: Prompt, start: int) -> Anchor:
        """Set by the first event of the request on this engine."""
        anchor = prompt.anchor
        if anchor is not None and anchor.endpoint_id == self._endpoint_id:
            return anchor
        known = self._tree.known(prompt.blocks)
        by_ratio = start / prompt.tokens_per_block
        if start and by_ratio / 2 <= known <= by_ratio * 2:
            # Its own begin in the first unknown block, or in the last known one, if a part of
            # that is there no more.
            blocks = min(max(by_ratio, known - 1), known)
            anchor = Anchor(self._endpoint_id, start, blocks, known)
        else:
            # What the engine had in its cache came from elsewhere: there is nothing to tie to.
            anchor = Anchor(self._endpoint_id, 0, 0, known)
        prompt.anchor = anchor
        return anchor

    def _keep(self, event: Stored, start: int, joined: tuple[Prompt, Anchor] | None) -> None:
        parent = event.parent
        for block in event.blocks:
            if known := self._blocks.get(block):
                known.copies += 1
            else:
                self._blocks[block] = _EngineBlock(parent, start)
            if joined is not None:
                # The last lies where no other prompt was: so what is there goes with it at last.
                is_last = block == event.blocks[-1]
                self._tie(self._blocks[block], *joined, at_least=joined[1].known * is_last)
            parent, start = block, start + event.block_tokens
        if max(len(self._blocks), len(self._tree)) > self._max_blocks:
            raise Overflow

    def _adopt(self, block: int | None, prompt: Prompt, anchor: Anchor) -> None:
        """The request found these in the cache, so they are its prompt's."""
        while block is not None and (known := self._blocks.get(block)) and known.ours is None:
            self._tie(known, prompt, anchor)
            block = known.parent

    def _tie(
        self, block: _EngineBlock, prompt: Prompt, anchor: Anchor, *, at_least: int = 0
    ) -> None:
        if block.ours is None:
            index = max(at_least, _depth(prompt, anchor, block.start))
            if index < len(prompt.blocks):
                block.ours = prompt.blocks[index]
                self._tree.support(block.ours)

    def _removed(self, event: Removed) -> BlocksRemoved | None:
        gone: list[int] = []
        for block in event.blocks:
            known = self._blocks.get(block)
            if known is None:
                continue
            known.copies -= 1
            if known.copies:
                continue
            del self._blocks[block]
            if known.ours is not None:
                gone += self._tree.abandon(known.ours)
        return BlocksRemoved(self._endpoint_id, tuple(dict.fromkeys(gone))) if gone else None


def _depth(prompt: Prompt, anchor: Anchor, tokens: int) -> int:
    """How many of our blocks the first ``tokens`` of the prompt fill."""
    if tokens < anchor.tokens:
        filled = tokens * anchor.blocks / anchor.tokens
    else:
        filled = anchor.blocks + (tokens - anchor.tokens) / prompt.tokens_per_block
    return int(filled + 1e-9)
