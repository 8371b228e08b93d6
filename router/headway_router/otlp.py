"""Sends spans to a collector as OTLP over HTTP, in JSON (opentelemetry-proto 1.x, section "JSON").

Nothing waits for it: what the collector does not take is lost, and counted.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import orjson

from headway_core.router import Router
from headway_router.metric_labels import SpanOutcome
from headway_router.metrics import Metrics
from headway_router.settings import Settings
from headway_router.tracing import Span, Tracer

log = logging.getLogger(__name__)

SEND_EVERY_S = 1.0
MOST_PENDING = 2048
TIMEOUT_S = 5.0
_INTERNAL = 1
_ERROR = 2


class OtlpExporter:
    """``endpoint``: the collector's base URL; spans go to ``/v1/traces`` below it."""

    def __init__(self, endpoint: str, metrics: Metrics) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._metrics = metrics
        self._pending: list[Span] = []
        self._is_failing = False

    def add(self, span: Span) -> None:
        if len(self._pending) >= MOST_PENDING:
            self._metrics.spans.labels(SpanOutcome.LOST).add()
        else:
            self._pending.append(span)

    async def run(self) -> None:
        """Send what has come together, until cancelled; then the rest."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                while True:
                    await asyncio.sleep(SEND_EVERY_S)
                    await self._send(session)
            finally:
                await self._send(session)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        spans, self._pending = self._pending, []
        if not spans:
            return
        outcome, problem = SpanOutcome.SENT, ""
        body, headers = orjson.dumps(as_json(spans)), {"content-type": "application/json"}
        try:
            async with session.post(self._url, data=body, headers=headers) as response:
                if response.status != 200:
                    problem = f"the collector answers {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problem = str(error) or type(error).__name__
        if problem:
            outcome = SpanOutcome.LOST
            if not self._is_failing:
                log.error("otlp.failed", extra={"url": self._url, "problem": problem})
        self._is_failing = bool(problem)
        self._metrics.spans.labels(outcome).add(len(spans))


def as_json(spans: Sequence[Span]) -> dict[str, Any]:
    """An ``ExportTraceServiceRequest``: 64-bit numbers are strings, ids are hexadecimal."""
    resource = {"attributes": _attributes({"service.name": "headway-router"})}
    scope = {"scope": {"name": "headway"}, "spans": [_span(span) for span in spans]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(span: Span) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": "headway.route",
        "kind": _INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "events": [{"timeUnixNano": str(at_ns), "name": name} for at_ns, name in span.events],
        "status": {"code": _ERROR, "message": span.error} if span.error else {},
    }
    if span.parent_id is not None:
        fields["parentSpanId"] = span.parent_id
    return fields


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: str | float) -> dict[str, Any]:
    match value:
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": value}


@dataclass(frozen=True, slots=True)
class Tracing:
    exporter: OtlpExporter
    tracer: Tracer


def tracing_for(settings: Settings, core: Router, metrics: Metrics) -> Tracing | None:
    """None: no collector is named."""
    if settings.otlp_endpoint is None:
        return None
    exporter = OtlpExporter(settings.otlp_endpoint, metrics)
    return Tracing(exporter, Tracer(core, Random(), exporter.add))
