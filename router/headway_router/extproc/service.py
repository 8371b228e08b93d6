"""Carries out what sessions and taps ask for: the whole of ext_proc behind a transport."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter, time_ns
from typing import assert_never

from headway_core.events import Failed
from headway_core.facts import InferenceRequest
from headway_core.outcomes import Outcome
from headway_router.dispatch import Dispatcher
from headway_router.extproc.codec import decode, encode
from headway_router.extproc.headers import REQUEST_ID_METADATA, TRACEPARENT
from headway_router.extproc.messages import (
    Abandoned,
    ChangeMode,
    Continue,
    Effect,
    EngineRefused,
    Immediate,
    Place,
    ProtocolConfig,
    Read,
    Received,
    ReplaceBody,
    Reply,
    Report,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
    Route,
    StreamedChunk,
    Unread,
)
from headway_router.extproc.session import Session, SessionOptions
from headway_router.extproc.tap import Tap
from headway_router.metric_labels import Phase
from headway_router.metrics import Metrics
from headway_router.openai.intake import Intake
from headway_router.sampling import Sampling
from headway_router.tracing import Tracer
from headway_router.transport import Deliver

_DEFAULT_CONFIG = ProtocolConfig()
_NO_REQUEST_ID = ("", "-")
"""What a gateway's ``%REQ(x-request-id)%`` is without that header."""


class ExternalProcessor:
    """Opens a stream per HTTP exchange; the service of a transport."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        intake: Intake,
        metrics: Metrics,
        options: SessionOptions | None = None,
        tracer: Tracer | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.intake = intake
        self.metrics = metrics
        self.options = options or SessionOptions()
        self.tracer = tracer
        self.sampling = sampling

    def open(self, metadata: Mapping[str, str], deliver: Deliver) -> "Exchange":
        request_id = metadata.get(REQUEST_ID_METADATA, "")
        self.metrics.streams_open += 1
        return Exchange(self, None if request_id in _NO_REQUEST_ID else request_id, deliver)


class Exchange:
    """One stream: decodes, lets its session or tap decide, carries out effects, encodes."""

    def __init__(
        self, processor: ExternalProcessor, request_id: str | None, deliver: Deliver
    ) -> None:
        self._processor = processor
        self._request_id = request_id
        self._deliver = deliver
        self._part: Session | Tap | None = None
        self._traceparent: str | None = None
        """The client's; known where requests are traced."""
        self._is_closed = False
        self.is_over = False
        self.is_waiting = False

    def receive(self, message: bytes) -> Sequence[bytes]:
        received = decode(message)
        part = self._part
        if part is None:
            part = self._part = self._begin(received)
        if self._processor.tracer and isinstance(received.message, RequestHeaders):
            self._traceparent = received.message.headers.get(TRACEPARENT)
        replies = self._carry_out(part.receive(received.message))
        if isinstance(part, Tap):
            self.is_over = part.is_over
        return replies

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.is_waiting = False
        self._processor.metrics.streams_open -= 1
        if self._part is not None:
            self._carry_out(self._part.close())

    def _begin(self, first: Received) -> Session | Tap:
        """A stream that begins with a response is a tap: it has nothing to route."""
        config = first.config or _DEFAULT_CONFIG
        processor, request_id = self._processor, self._request_id
        sampling = processor.sampling
        if isinstance(first.message, ResponseHeaders | ResponseBody):
            return Tap(config, request_id, sampling, is_observed=first.is_observed)
        return Session(processor.intake, processor.options, config, request_id, sampling)

    def _carry_out(self, step: Sequence[Reply | Effect]) -> list[bytes]:
        replies: list[bytes] = []
        tracer = self._processor.tracer
        for item in step:
            match item:
                case Place(request):
                    replies += self._place(request)
                case Report(event):
                    self._processor.dispatcher.observe(event)
                    if tracer is not None:
                        tracer.observe(event)
                case Route() | Continue() | ChangeMode() | ReplaceBody() | StreamedChunk():
                    replies.append(self._encode(item))
                case Immediate():
                    self._count(item)
                    self.is_over = True
                    replies.append(self._encode(item))
                case EngineRefused(request_id):
                    self._processor.dispatcher.engine_refused(request_id)
                    if tracer is not None:
                        tracer.observe(Failed(request_id))
                case Read(sample, body, end_of_stream):
                    sample.feed(body, end_of_stream)
                case Unread(sample):
                    sample.close()
                case Abandoned():
                    self._processor.metrics.cancelled()
                case _:
                    assert_never(item)
        return replies

    def _place(self, request: InferenceRequest) -> list[bytes]:
        tracer, started = self._processor.tracer, perf_counter()
        start_ns = 0 if tracer is None else time_ns()
        outcome = self._processor.dispatcher.place(request, self._settle)
        self._processor.metrics.phase_s[Phase.PLACE].observe(perf_counter() - started)
        if tracer is not None:
            tracer.begin(outcome, self._traceparent, start_ns)
        return self._resume(outcome)

    def _settle(self, outcome: Outcome) -> None:
        if replies := self._resume(outcome):
            self._deliver(replies)

    def _resume(self, outcome: Outcome) -> list[bytes]:
        if not isinstance(self._part, Session):
            return []
        step = self._part.resume(outcome)
        tracer = self._processor.tracer
        if tracer is not None and (traceparent := tracer.decided(outcome)):
            step = [
                replace(item, traceparent=traceparent) if isinstance(item, Route) else item
                for item in step
            ]
        replies = self._carry_out(step)
        self.is_waiting = self._part.is_waiting
        return replies

    def _encode(self, reply: Reply) -> bytes:
        started = perf_counter()
        data = encode(reply)
        if isinstance(reply, Route):
            self._processor.metrics.phase_s[Phase.ENCODE].observe(perf_counter() - started)
        return data

    def _count(self, reply: Immediate) -> None:
        """A shed request was counted where it was shed."""
        if reply.rejected is not None:
            self._processor.metrics.rejected(reply.rejected)
        elif reply.status == 200:
            self._processor.metrics.answered()
