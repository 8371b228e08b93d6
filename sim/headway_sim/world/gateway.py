"""One request's way: client, gateway, router, engine and back, with the gateway's one retry.

As the project's own Envoy configuration does it: the router names two endpoints; if the first
refuses the connection, or resets it before its first token, the gateway tries the second, once.  A
router that is gone is passed over: the gateway takes the endpoints in turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from headway_core.events import Failed, Finished, FirstToken, UsageReported
from headway_core.facts import EndpointId, EndpointState, InferenceRequest
from headway_core.sampling import SampleBudget
from headway_sim.content import Contents
from headway_sim.engine import (
    EngineEvent,
    EngineRequest,
    FinishReason,
    RequestFinished,
    Scheduled,
    TokenEmitted,
)
from headway_sim.errors import InvalidEngineRequest
from headway_sim.kernel import Kernel, ns
from headway_sim.pickers import Answer, Refused, Sent, Waits
from headway_sim.traffic import Issued
from headway_sim.world.hosts import Host
from headway_sim.world.records import Fate, RequestRecord
from headway_sim.world.replica import Replica
from headway_sim.world.setting import FirstTokens, Setting


@dataclass(slots=True, eq=False)
class Journey:
    """A request that has not ended."""

    issued: Issued
    facts: InferenceRequest
    record: RequestRecord
    replica: Replica
    is_sampled: bool
    """Its stream is read to the end."""
    holds_sample: bool = False
    """That counts against its replica's budget."""
    fallback_id: EndpointId | None = None
    priority: int = 0
    attempt: int = 0
    at_engine: bool = False
    has_answer: bool = False
    """Its first token has left the engine: too late for a retry."""


_Message = tuple[Journey, int]
"""A journey and the attempt that it is about; later attempts make it void."""


class Gateway:
    """The only writer of records.  ``on_end`` is told of every request that ends."""

    def __init__(
        self,
        kernel: Kernel,
        hosts: Mapping[EndpointId, Host],
        setting: Setting,
        contents: Contents,
        on_end: Callable[[Journey], None],
    ) -> None:
        self._kernel = kernel
        self._hosts = hosts
        self._contents = contents
        self._on_end = on_end
        self._hop_ns = ns(setting.router_engine_s)
        self._first_tokens = setting.observation.first_tokens
        streams = setting.observation.sampled_streams
        self._budget = None if streams is None else SampleBudget(streams)
        self._journeys: dict[str, Journey] = {}
        self._turns = count()

    def journey(self, request_id: str) -> Journey | None:
        return self._journeys.get(request_id)

    def admit(self, journey: Journey) -> None:
        """It has arrived; ask its router."""
        self._journeys[journey.facts.request_id] = journey
        journey.replica.place(journey.facts)

    def settle(self, answer: Answer) -> None:
        journey = self._journeys[answer.request_id]
        match answer:
            case Sent(_, endpoint_id, fallback_id, priority):
                journey.fallback_id, journey.priority = fallback_id, priority
                self._send(journey, endpoint_id)
            case Waits():
                journey.record.was_held = True
            case Refused(_, reason):
                self._end(journey, Fate.SHED, reason)

    def fail_open(self, request_id: str) -> None:
        """The router is gone before it has answered."""
        journey = self._journeys[request_id]
        ready = [
            endpoint.endpoint_id
            for pool in journey.replica.fleet.pools
            if journey.facts.requested_model in ("", *pool.models)
            for endpoint in pool.endpoints
            if endpoint.state is EndpointState.READY
        ]
        if not ready:
            self._end(journey, Fate.FAILED, "no endpoint")
            return
        turn = next(self._turns)
        journey.record.failed_open = True
        journey.fallback_id = ready[(turn + 1) % len(ready)] if len(ready) > 1 else None
        self._send(journey, ready[turn % len(ready)])

    def told(self, host: Host, event: EngineEvent) -> None:
        """Something that an engine did to a request; other events are not the gateway's."""
        match event:
            case TokenEmitted(request_id, _, 0):
                journey = self._journeys[request_id]
                journey.has_answer = True
                self._kernel.after(self._hop_ns, self._first_token, (journey, journey.attempt))
            case RequestFinished(request_id, _, reason) if reason is not FinishReason.ABORT:
                journey = self._journeys[request_id]
                journey.at_engine = False
                self._kernel.after(self._hop_ns, self._finish, (journey, journey.attempt))
            case Scheduled(request_id, _, cached_tokens, False):
                self._journeys[request_id].record.cached_tokens = cached_tokens

    def crashed(self, endpoint_id: EndpointId) -> None:
        """What was in that engine gets its connection reset."""
        for journey in list(self._journeys.values()):
            if journey.at_engine and journey.record.endpoint_id == endpoint_id:
                journey.at_engine = False
                journey.attempt += 1
                self._kernel.after(self._hop_ns, self._reset, (journey, journey.attempt))

    def _send(self, journey: Journey, endpoint_id: EndpointId) -> None:
        record = journey.record
        if record.sent_ns is None:
            record.sent_ns = self._kernel.now_ns
        record.endpoint_id = endpoint_id
        self._kernel.after(self._hop_ns, self._reach_engine, (journey, journey.attempt))

    def _reach_engine(self, message: _Message) -> None:
        journey, _ = message
        endpoint_id = journey.record.endpoint_id
        assert endpoint_id is not None
        host = self._hosts[endpoint_id]
        if not host.is_up:
            self._kernel.after(self._hop_ns, self._reset, message)
            return
        journey.at_engine = True
        api_ns = ns(host.spec.api_s(journey.issued.request.prompt_tokens))
        if api_ns:
            self._kernel.after(api_ns, self._enter_engine, message)
        else:
            self._enter_engine(message)

    def _enter_engine(self, message: _Message) -> None:
        """It has passed the API server, unless that is gone by now."""
        journey, attempt = message
        if attempt != journey.attempt:
            return
        endpoint_id = journey.record.endpoint_id
        assert endpoint_id is not None
        host = self._hosts[endpoint_id]
        try:
            host.submit(self._engine_request(journey, host))
        except InvalidEngineRequest as error:
            journey.at_engine = False
            self._kernel.after(self._hop_ns, self._refuse, (journey, str(error)))

    def _engine_request(self, journey: Journey, host: Host) -> EngineRequest:
        request, config = journey.issued.request, host.spec.config
        caches = config.prefix_caching
        return EngineRequest(
            request_id=journey.facts.request_id,
            prompt_tokens=journey.record.prompt_tokens,
            output_tokens=request.output_tokens,
            block_hashes=(
                self._contents.engine_blocks(request, config.block_tokens) if caches else ()
            ),
            output_block_hash=(
                self._contents.answer_blocks(request, config.block_tokens) if caches else None
            ),
            priority=journey.priority,
            adapter=journey.facts.adapter,
        )

    def _reset(self, message: _Message) -> None:
        """The connection was refused or lost: once elsewhere, if nothing was answered yet."""
        journey, attempt = message
        if attempt != journey.attempt:
            return
        fallback_id, journey.fallback_id = journey.fallback_id, None
        if fallback_id is None or journey.has_answer:
            journey.replica.tell(Failed(journey.facts.request_id))
            self._end(journey, Fate.FAILED, "engine lost")
            return
        journey.attempt += 1
        journey.record.retries += 1
        self._send(journey, fallback_id)

    def _refuse(self, refusal: tuple[Journey, str]) -> None:
        """The engine's own answer to what it cannot serve."""
        journey, reason = refusal
        journey.replica.tell(Failed(journey.facts.request_id))
        self._end(journey, Fate.FAILED, reason)

    def _first_token(self, message: _Message) -> None:
        journey, attempt = message
        if attempt != journey.attempt:
            return
        record = journey.record
        record.first_token_ns = self._kernel.now_ns
        if self._budget is not None and self._first_tokens is not FirstTokens.ABSENT:
            took = self._budget.take(f"{journey.replica.number}", self._kernel.now_s)
            journey.is_sampled = journey.holds_sample = took
        mode = self._first_tokens
        if mode is FirstTokens.TAP or (mode is FirstTokens.SAMPLED and journey.is_sampled):
            journey.replica.tell(FirstToken(journey.facts.request_id, record.endpoint_id))

    def _finish(self, message: _Message) -> None:
        journey, attempt = message
        if attempt != journey.attempt:
            return
        request_id, record = journey.facts.request_id, journey.record
        if journey.is_sampled and self._first_tokens is not FirstTokens.ABSENT:
            usage = UsageReported(
                request_id, record.prompt_tokens, record.cached_tokens, record.output_tokens
            )
            journey.replica.tell(usage)
        journey.replica.tell(Finished(request_id))
        self._end(journey, Fate.FINISHED)

    def _end(self, journey: Journey, fate: Fate, reason: str | None = None) -> None:
        record = journey.record
        record.fate, record.reason, record.ended_ns = fate, reason, self._kernel.now_ns
        del self._journeys[journey.facts.request_id]
        if self._budget is not None and journey.holds_sample:
            self._budget.give_back(f"{journey.replica.number}")
        self._on_end(journey)
