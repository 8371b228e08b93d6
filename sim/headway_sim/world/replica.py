"""One router replica: a picker, its timer, and the streams that are open through it.

A stream ends with the process it goes through: after a restart nothing that happens to an earlier
request reaches the new router.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from headway_core.events import Cancelled, Event, Failed, Finished, FirstToken, UsageReported
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.policy import Fleet
from headway_sim.kernel import Kernel, ns_not_before
from headway_sim.pickers import Answer, Picker, Refused, Sent

RequestEvent = FirstToken | UsageReported | Finished | Failed | Cancelled

SHORTEST_WAIT_NS = 1_000_000
"""A deadline that stays due is looked at so often, as the router's own timer does."""


class Settles(Protocol):
    """Who carries out answers: the gateway."""

    def settle(self, answer: Answer) -> None: ...

    def fail_open(self, request_id: str) -> None:
        """The router is gone: the gateway goes on without it."""


class Replica:
    """``make`` builds a picker that knows nothing; called again after every restart."""

    def __init__(
        self, number: int, make: Callable[[int, int], Picker], kernel: Kernel, gateway: Settles
    ) -> None:
        self.number = number
        self._make = make
        self._kernel = kernel
        self._gateway = gateway
        self._starts = 0
        self._picker: Picker | None = None
        self._streams: dict[str, bool] = {}
        """Requests whose stream goes through this process; True: the router holds it."""
        self._fleet = Fleet()
        self._endpoints: frozenset[EndpointId] = frozenset()
        self._ticks_ns: int | None = None
        self._last_tick_ns = -1

    @property
    def fleet(self) -> Fleet:
        """What it was told last."""
        return self._fleet

    def knows(self, endpoint_id: EndpointId) -> bool:
        """Whether the fleet, as it was told last, has this endpoint."""
        return endpoint_id in self._endpoints

    def start(self) -> None:
        """Without effect while it is up."""
        if self._picker is not None:
            return
        self._picker = self._make(self.number, self._starts)
        self._starts += 1
        self._settle(self._picker.apply(self._fleet, self._kernel.now_s))

    def stop(self) -> None:
        """The process is gone with its state; what it held goes on without it."""
        held = [request_id for request_id, is_held in self._streams.items() if is_held]
        self._picker = None
        self._streams.clear()
        self._ticks_ns = None
        for request_id in held:
            self._gateway.fail_open(request_id)

    def apply(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._endpoints = frozenset(e.endpoint_id for pool in fleet.pools for e in pool.endpoints)
        if self._picker is not None:
            self._settle(self._picker.apply(fleet, self._kernel.now_s))

    def place(self, request: InferenceRequest) -> None:
        if self._picker is None:
            self._gateway.fail_open(request.request_id)
            return
        answer = self._picker.place(request, self._kernel.now_s)
        self._streams[request.request_id] = True
        self._settle([answer])

    def tell(self, event: RequestEvent) -> None:
        """Something on a request's stream; nothing if that does not go through this process."""
        if event.request_id not in self._streams:
            return
        if isinstance(event, Finished | Failed | Cancelled):
            del self._streams[event.request_id]
        self.observe(event)

    def observe(self, event: Event) -> None:
        if self._picker is not None:
            self._settle(self._picker.observe(event, self._kernel.now_s))

    def _settle(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if isinstance(answer, Refused):
                del self._streams[answer.request_id]
            elif isinstance(answer, Sent):
                self._streams[answer.request_id] = False
            self._gateway.settle(answer)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._picker is None:
            return
        deadline_s = self._picker.next_deadline()
        if deadline_s is None:
            return
        now_ns = self._kernel.now_ns
        due_ns = max(ns_not_before(deadline_s), now_ns)
        if due_ns == self._last_tick_ns:
            due_ns += SHORTEST_WAIT_NS
        if self._ticks_ns is None or due_ns < self._ticks_ns:
            self._ticks_ns = due_ns
            self._kernel.at(due_ns, self._tick, due_ns)

    def _tick(self, due_ns: int) -> None:
        if self._picker is None or self._ticks_ns != due_ns:
            return
        self._ticks_ns = None
        self._last_tick_ns = due_ns
        self._settle(self._picker.tick(self._kernel.now_s))
