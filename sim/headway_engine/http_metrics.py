"""The ``http_*`` series: what vLLM's web framework counts about requests, by route.

Probes and the metrics themselves are not counted; an unknown path has the handler "none".
"""

import time
from collections.abc import Callable

from headway_engine.series import Counter, Family, Histogram, Summary

UNCOUNTED = frozenset({"/metrics", "/health", "/load", "/ping", "/version", "/server_info"})

_FINE_S = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    3.5,
    4.0,
    4.5,
    5.0,
    7.5,
    10.0,
    30.0,
    60.0,
)
_COARSE_S = (0.1, 0.5, 1.0)


class HttpMetrics:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._requests = Counter("http_requests", "Requests by route and status", clock)
        self._request_bytes = Summary(
            "http_request_size_bytes", "Content length of requests", clock
        )
        self._response_bytes = Summary(
            "http_response_size_bytes", "Content length of answers; a stream has none", clock
        )
        self._fine = Histogram("http_request_duration_highr_seconds", "All routes", _FINE_S, clock)
        self._coarse = Histogram("http_request_duration_seconds", "By route", _COARSE_S, clock)
        self._fine_key = self._fine.touch({})
        self._families: list[Family] = [
            self._requests,
            self._request_bytes,
            self._response_bytes,
            self._fine,
            self._coarse,
        ]

    def observe(
        self,
        handler: str,
        method: str,
        status: int,
        *,
        request_bytes: int,
        response_bytes: int,
        seconds: float,
    ) -> None:
        if handler in UNCOUNTED:
            return
        self._requests.add(
            1, {"handler": handler, "method": method, "status": f"{status // 100}xx"}
        )
        self._request_bytes.observe(request_bytes, {"handler": handler})
        self._response_bytes.observe(response_bytes, {"handler": handler})
        self._fine.observe(seconds, self._fine_key)
        self._coarse.observe(seconds, self._coarse.touch({"handler": handler, "method": method}))

    def render(self) -> str:
        return "".join(family.render() for family in self._families)
