"""One HTTP exchange as a state machine: messages in, replies and effects out, no I/O."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never
from uuid import uuid4

from headway_core.events import Cancelled, Failed, Finished
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import Held, Outcome, Placed, Shed
from headway_router.errors import RejectReason, RequestRejected
from headway_router.extproc import refusals
from headway_router.extproc.flows import Duplex, Flow, flow_for
from headway_router.extproc.headers import REQUEST_ID
from headway_router.extproc.messages import (
    Abandoned,
    Continue,
    Effect,
    Message,
    Part,
    Place,
    ProtocolConfig,
    Reply,
    Report,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Route,
    Subset,
    Target,
)
from headway_router.extproc.response import Response
from headway_router.openai.head import Head, read_head, too_large
from headway_router.openai.intake import Intake
from headway_router.openai.shapes import Shape, shape_of
from headway_router.sampling import Sampling

Step = list[Reply | Effect]


class _Stage(Enum):
    COLLECTING = auto()
    DECIDING = auto()
    """The core was asked: the request may be held, and may have a lease."""
    ROUTED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    single_destination: bool = False
    """For gateways that read the destination as one address, never as a list."""


class Session:
    """Routes one request.  Close it however its stream ends: that is what returns its lease.

    ``request_id`` is what the gateway's metadata says; None: the ``x-request-id`` header, or one
    of our own.  The core's outcome says which id is in force, as a client's may be taken.
    """

    def __init__(
        self,
        intake: Intake,
        options: SessionOptions,
        config: ProtocolConfig,
        request_id: str | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._intake = intake
        self._options = options
        self._response = Response(config, sampling)
        self._flow = flow_for(config)
        self._request_id = request_id or ""
        self._stage = _Stage.COLLECTING
        self._head: Head | None = None
        self._subset: Subset | None = None
        self._size = 0
        self._requested_model = ""
        self._new_body: bytes | None = None
        self._late: list[Reply] = []

    @property
    def is_waiting(self) -> bool:
        """The core holds the request: ``resume`` will be called, whatever is received."""
        return self._stage is _Stage.DECIDING

    def receive(self, message: Message) -> Step:
        match message:
            case RequestHeaders():
                return self._request_headers(message)
            case RequestBody():
                return self._request_body(message)
            case RequestTrailers():
                return self._request_trailers()
            case ResponseHeaders(status, end_of_stream):
                passes = self._response.headers(self._request_id, status)
                return [passes, *self._response_ended(end_of_stream)]
            case ResponseBody(body, end_of_stream):
                step = self._response.body(self._request_id, body, end_of_stream)
                return [*step, *self._response_ended(end_of_stream)]
            case ResponseTrailers():
                return [Continue(Part.RESPONSE_TRAILERS), *self._response_ended(True)]
            case _:
                assert_never(message)

    def resume(self, outcome: Outcome) -> Step:
        """Take what the core answers, or decides later of a request that it held."""
        if self._stage is not _Stage.DECIDING:
            return []
        self._request_id = outcome.request_id
        match outcome:
            case Held():
                return []
            case Placed():
                self._stage = _Stage.ROUTED
                return [*self._answer(outcome), *self._late]
            case Shed():
                self._stage = _Stage.ENDED
                return [refusals.shed(outcome, self._shape, self._requested_model)]
            case _:
                assert_never(outcome)

    def close(self) -> Step:
        """The stream is over.  Twice is harmless."""
        stage, self._stage = self._stage, _Stage.ENDED
        match stage:
            case _Stage.COLLECTING:
                return [Abandoned()]
            case _Stage.DECIDING:
                return [Report(Cancelled(self._request_id))]
            case _Stage.ROUTED:
                ended = Failed if self._response.has_failed else Finished
                return [*self._response.close(), Report(ended(self._request_id))]
            case _Stage.ENDED:
                return []

    # -- the request -------------------------------------------------------------------------

    @property
    def _shape(self) -> Shape:
        return self._head.shape if self._head else Shape.OTHER

    def _request_headers(self, message: RequestHeaders) -> Step:
        if self._stage is not _Stage.COLLECTING or self._head is not None:
            return [Continue(Part.REQUEST_HEADERS)]
        headers = message.headers
        self._request_id = self._request_id or headers.get(REQUEST_ID, "")
        self._subset = message.subset
        try:
            self._head = head = read_head(headers, self._intake.max_body_bytes)
        except RequestRejected as rejected:
            self._head = Head(shape=shape_of(headers.get(":path", "")))
            return self._reject(rejected)
        if head.asks_for_models:
            self._stage = _Stage.ENDED
            return [refusals.models(self._intake.catalogue.models_list)]
        if self._flow is None or message.end_of_stream:
            return self._decide_without_body(message.end_of_stream)
        return [self._response.asked_for(reply) for reply in self._flow.headers()]

    def _request_body(self, message: RequestBody) -> Step:
        flow = self._flow
        if self._stage is not _Stage.COLLECTING or flow is None:
            # Out of order; where answers are counted it needs one, where they are not, none.
            return [] if isinstance(flow, Duplex) else [Continue(Part.REQUEST_BODY)]
        if message.subset is not None:
            self._subset = message.subset
        self._size += len(message.body)
        if self._size > self._intake.max_body_bytes:
            return self._reject(too_large(self._intake.max_body_bytes))
        replies = flow.chunk(message)
        return self._decide(flow) if flow.is_complete else [*replies]

    def _request_trailers(self) -> Step:
        flow, passes = self._flow, Continue(Part.REQUEST_TRAILERS)
        match self._stage:
            case _Stage.COLLECTING if flow is not None:
                try:
                    flow.trailers()
                except RequestRejected as rejected:
                    return self._reject(rejected)
                return self._decide(flow)
            case _Stage.DECIDING:
                self._late.append(passes)
                return []
            case _:
                return [passes]

    def _decide(self, flow: Flow) -> Step:
        head = self._head or Head()
        try:
            accepted = self._intake.with_body(self._own_id(), head, self._allowed(), flow.body)
        except RequestRejected as rejected:
            if flow.may_be_truncated and rejected.reason is RejectReason.MALFORMED_JSON:
                rejected = refusals.above_the_gateways_buffer()
            return self._reject(rejected)
        flow.body_was_read()
        self._new_body = accepted.body
        return self._place(accepted.request)

    def _decide_without_body(self, has_no_body: bool) -> Step:
        head = self._head or Head()
        if has_no_body and head.method == "POST" and head.shape is not Shape.OTHER:
            return self._reject(refusals.empty_body())
        self._flow = None
        return self._place(self._intake.without_body(self._own_id(), head, self._allowed()))

    def _place(self, request: InferenceRequest) -> Step:
        self._stage = _Stage.DECIDING
        self._requested_model = request.requested_model
        return [Place(request)]

    def _own_id(self) -> str:
        self._request_id = self._request_id or uuid4().hex
        return self._request_id

    def _allowed(self) -> frozenset[EndpointId] | None:
        if self._subset is None:
            return None
        return self._intake.catalogue.endpoints_among(self._subset)

    def _reject(self, rejected: RequestRejected) -> Step:
        self._stage = _Stage.ENDED
        return [refusals.rejected(rejected, self._shape)]

    def _answer(self, placed: Placed) -> list[Reply]:
        destination = placed.decision.endpoint_id
        if placed.fallback_id is not None and not self._options.single_destination:
            destination = f"{destination},{placed.fallback_id}"
        shown = self._intake.catalogue.shown(placed.decision)
        target = Target(destination, placed.decision.pool, placed.vllm_priority, shown)
        route = Route(Part.REQUEST_HEADERS, target, placed.request_id)
        if self._flow is None:
            return [route]
        replies = self._flow.answer(route, self._new_body)
        self._flow.answer_was_given()
        self._new_body = None
        return replies

    # -- the response ------------------------------------------------------------------------

    def _response_ended(self, end_of_stream: bool) -> Step:
        """The lease is not needed any longer, whenever the gateway ends the stream."""
        return self.close() if end_of_stream and self._stage is _Stage.ROUTED else []
