"""Our blocks that an engine is known to have seen, as the tree of their prompts.

A block's hash stands for the whole prefix up to it, so it has one parent, and is of no use without
it: what an engine holds is closed under parents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    parent: int | None
    children: set[int] = field(default_factory=set)
    support: int = 0
    """Engine blocks that lie in it."""
    is_held: bool = False


class BlockTree:
    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def known(self, blocks: Sequence[int]) -> int:
        """Leading blocks of a prompt that others have brought here."""
        depth = len(blocks)
        while depth and blocks[depth - 1] not in self._nodes:
            depth -= 1
        return depth

    def add(self, blocks: Sequence[int]) -> None:
        """A prompt, head first."""
        for depth in range(self.known(blocks), len(blocks)):
            parent = blocks[depth - 1] if depth else None
            self._nodes[blocks[depth]] = _Node(parent)
            if parent is not None:
                self._nodes[parent].children.add(blocks[depth])

    def hold(self, blocks: Sequence[int]) -> bool:
        """The engine holds these, a known prompt's head.  Returns: whether that is new."""
        depth = len(blocks)
        while depth and not (node := self._nodes[blocks[depth - 1]]).is_held:
            node.is_held = True
            depth -= 1
        return depth < len(blocks)

    def support(self, block: int) -> None:
        """An engine block lies in this known one."""
        self._nodes[block].support += 1

    def abandon(self, block: int) -> list[int]:
        """One that lay in it is gone.

        Returns: what is of no use any more, that is nothing, or the block and all behind it.
        """
        node = self._nodes[block]
        node.support -= 1
        if node.support:
            return []
        useless = [block]
        for one in useless:  # It grows meanwhile: parents before children.
            self._nodes[one].is_held = False
            useless += self._nodes[one].children
        for one in reversed(useless):
            self._drop_if_idle(one)
        return useless

    def _drop_if_idle(self, block: int) -> None:
        """Kept is what an engine block lies in, and what leads there."""
        node = self._nodes[block]
        if node.support or node.children:
            return
        del self._nodes[block]
        if node.parent is not None:
            self._nodes[node.parent].children.discard(block)
