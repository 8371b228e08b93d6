"""A router whose view of the caches is a copy that is taken anew every so often.

Between two copies nothing that it sends, and nothing that engines tell, changes what it believes
to be cached where.  Its own account of load stays exact.
"""

from collections.abc import Callable, Sequence

from headway_core.events import Event
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.policy import Fleet
from headway_core.prefix.mirror import Mirror
from headway_sim.pickers import Answer, Picker


class CopiedMirror(Mirror):
    """What is written is seen after the next ``copy``; who is there, at once."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[tuple[EndpointId, Callable[[], None]]] = []

    def copy(self) -> None:
        """See all that was written until now."""
        for _, write in self._written:
            write()
        self._written.clear()

    def remove(self, endpoint_id: EndpointId) -> None:
        Mirror.clear(self, endpoint_id)
        super().remove(endpoint_id)
        self._written = [entry for entry in self._written if entry[0] != endpoint_id]

    def record(self, endpoint_id: EndpointId, blocks: Sequence[int], block_tokens: int) -> None:
        write = super().record
        self._written.append((endpoint_id, lambda: write(endpoint_id, blocks, block_tokens)))

    def forget(self, endpoint_id: EndpointId, blocks: Sequence[int]) -> None:
        write = super().forget
        self._written.append((endpoint_id, lambda: write(endpoint_id, blocks)))

    def clear(self, endpoint_id: EndpointId) -> None:
        write = super().clear
        self._written.append((endpoint_id, lambda: write(endpoint_id)))


class CacheView:
    """Of one router process: makes its mirrors, and renews them every ``every_s``."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._mirrors: list[CopiedMirror] = []
        self._next_s = 0.0

    def mirror(self) -> Mirror:
        made = CopiedMirror()
        self._mirrors.append(made)
        return made

    def seen_by(self, picker: Picker) -> Picker:
        return _Seeing(picker, self.look)

    def look(self, now: float) -> None:
        """Take the copies that are due by now."""
        if now < self._next_s:
            return
        for mirror in self._mirrors:
            mirror.copy()
        self._next_s = (now // self._every_s + 1) * self._every_s


class _Seeing:
    """A picker that looks before it does anything."""

    def __init__(self, picker: Picker, look: Callable[[float], None]) -> None:
        self._picker = picker
        self._look = look

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        self._look(now)
        return self._picker.apply(fleet, now)

    def place(self, request: InferenceRequest, now: float) -> Answer:
        self._look(now)
        return self._picker.place(request, now)

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        self._look(now)
        return self._picker.observe(event, now)

    def tick(self, now: float) -> Sequence[Answer]:
        self._look(now)
        return self._picker.tick(now)

    def next_deadline(self) -> float | None:
        return self._picker.next_deadline()
