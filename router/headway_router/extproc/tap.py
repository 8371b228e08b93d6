"""The first-token tap: a stream that tells when a response's first bytes passed the gateway.

A second filter in the same gateway sends response chunks and nothing of the request
(`docs/design.md`).  The first chunk is all it is asked for, but of the few responses that are read
to the end.
"""

from headway_core.events import FirstToken
from headway_router.extproc.flows import echo
from headway_router.extproc.messages import (
    Continue,
    Effect,
    EngineRefused,
    Message,
    Part,
    ProtocolConfig,
    Read,
    Reply,
    Report,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Unread,
    Upstream,
)
from headway_router.sampling import Sample, Sampling


class Tap:
    """``request_id`` is what the gateway's metadata says; else its attribute ``request.id``."""

    def __init__(
        self,
        config: ProtocolConfig,
        request_id: str | None,
        sampling: Sampling | None = None,
        *,
        is_observed: bool,
    ) -> None:
        self._response_body_mode = config.response_body_mode
        self._request_id = request_id
        self._sampling = sampling
        self._sample: Sample | None = None
        self._is_observed = is_observed
        self.is_over = False
        """There is nothing more to learn: the server ends the stream."""

    def receive(self, message: Message) -> list[Reply | Effect]:
        if self.is_over:
            return []
        match message:
            case ResponseBody(body, end_of_stream, upstream):
                learned = []
                if body and self._sample is None:
                    learned = self._learned(upstream or Upstream())
                if self._sample is not None:
                    learned.append(Read(self._sample, body, end_of_stream))
                self.is_over = end_of_stream or (bool(body) and self._sample is None)
                reply = echo(self._response_body_mode, body, end_of_stream)
            case ResponseHeaders():
                # Engines send the headers of a stream before its first token.
                learned, reply = [], Continue(Part.RESPONSE_HEADERS)
            case ResponseTrailers():
                self.is_over = True
                learned, reply = [], Continue(Part.RESPONSE_TRAILERS)
            case RequestHeaders() | RequestBody() | RequestTrailers():
                return []
        return learned if self._is_observed else [*learned, reply]

    def _learned(self, upstream: Upstream) -> list[Reply | Effect]:
        # Without an id it is still a report, of a request that nobody knows.
        request_id = self._request_id or upstream.request_id or ""
        if upstream.status is not None and not 200 <= upstream.status < 300:
            return [EngineRefused(request_id)]
        if self._sampling is not None:
            self._sample = self._sampling.begin_at_tap(request_id)
        return [Report(FirstToken(request_id, upstream.endpoint_id))]

    def close(self) -> list[Reply | Effect]:
        return [] if self._sample is None else [Unread(self._sample)]
