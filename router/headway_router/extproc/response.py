"""The response's part of a session: it passes as it is, and is read where that is granted.

A gateway that sends no response bodies is asked for some of them in two steps: in the answer to
the request's headers for the response's headers, and in the answer to those, when the pool is
known and may have room in its budget, for the body.  Gateways in FULL_DUPLEX_STREAMED ignore both.
"""

from headway_core.events import FirstToken
from headway_router.extproc.flows import echo
from headway_router.extproc.messages import (
    BodyMode,
    ChangeMode,
    Continue,
    Effect,
    Part,
    ProtocolConfig,
    Read,
    Reply,
    Report,
    Unread,
)
from headway_router.sampling import Sample, Sampling

_AS_A_WHOLE = frozenset({BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL})
"""Modes in which the first that is seen of a body is all of it."""


class Response:
    """``sampling`` None: nothing is read."""

    def __init__(self, config: ProtocolConfig, sampling: Sampling | None) -> None:
        self._config = config
        self._sampling = sampling
        self._sample: Sample | None = None
        self._was_asked_for = False
        self._has_begun = False
        self.has_failed = False
        """Its status is not one of success."""

    def asked_for(self, passes: Reply) -> Reply:
        """The answer to the request's headers, which would be ``passes``."""
        config, sampling = self._config, self._sampling
        is_fixed = config.sends_body_early or config.response_body_mode is not BodyMode.NONE
        if sampling is None or is_fixed or not sampling.may_ask():
            return passes
        self._was_asked_for = True
        return ChangeMode(Part.REQUEST_HEADERS, config.request_body_mode, BodyMode.NONE)

    def headers(self, request_id: str, status: int | None) -> Reply:
        self.has_failed = status is not None and not 200 <= status < 300
        if self._was_asked_for and self._sampling is not None and not self.has_failed:
            self._sample = self._sampling.begin(request_id)
            if self._sample is not None:
                mode = self._config.request_body_mode
                return ChangeMode(Part.RESPONSE_HEADERS, mode, BodyMode.STREAMED)
        return Continue(Part.RESPONSE_HEADERS)

    def body(self, request_id: str, body: bytes, end_of_stream: bool) -> list[Reply | Effect]:
        step: list[Reply | Effect] = []
        mode = self._config.response_body_mode
        if body and not self._has_begun and not self.has_failed:
            self._has_begun = True
            if mode not in _AS_A_WHOLE:
                step.append(Report(FirstToken(request_id)))
            if self._sample is None and self._sampling is not None:
                self._sample = self._sampling.begin(request_id)
        if self._sample is not None:
            step.append(Read(self._sample, body, end_of_stream))
        return [*step, echo(mode, body, end_of_stream)]

    def close(self) -> list[Reply | Effect]:
        return [] if self._sample is None else [Unread(self._sample)]
