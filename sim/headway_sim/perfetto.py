"""A run as a trace for ui.perfetto.dev or chrome://tracing: JSON in Chrome's Trace Event format.

A track for the router and one for every engine.  A request is *held* in the router, then in
*prefill* (queue of the engine included) and in *decode* at its engine; requests overlap, so these
are asynchronous slices with the request as their id.  What the gateway sent elsewhere after a
crash is shown where it was answered.  Times are microseconds of simulated time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from headway_core.facts import EndpointId
from headway_sim.world.records import Fate, RequestRecord

Event = dict[str, Any]

ROUTER_PID = 1


def write_trace(
    records: Iterable[RequestRecord], engines: Mapping[EndpointId, str], file: TextIO
) -> None:
    """``engines``: endpoint -> its name for readers.  Events are written one a line."""
    pids = {endpoint_id: pid for pid, endpoint_id in enumerate(engines, start=ROUTER_PID + 1)}
    file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
    separator = ""
    for event in (*_names(engines, pids), *_slices(records, pids)):
        file.write(separator + json.dumps(event, separators=(",", ":")))
        separator = ",\n"
    file.write("\n]}\n")


def _names(engines: Mapping[EndpointId, str], pids: Mapping[EndpointId, int]) -> Iterator[Event]:
    yield _name(ROUTER_PID, "router")
    for endpoint_id, name in engines.items():
        yield _name(pids[endpoint_id], f"{name} ({endpoint_id})")


def _name(pid: int, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}


def _slices(records: Iterable[RequestRecord], pids: Mapping[EndpointId, int]) -> Iterator[Event]:
    for record in records:
        ended_ns = record.ended_ns
        left_ns = record.sent_ns if record.sent_ns is not None else ended_ns
        if left_ns is not None and left_ns > record.arrived_ns:
            yield from _slice(record, ROUTER_PID, "held", record.arrived_ns, left_ns)
        if record.fate is Fate.SHED:
            yield _instant(record, ROUTER_PID, f"shed: {record.reason}", ended_ns)
        if record.sent_ns is None or record.endpoint_id is None:
            continue
        pid = pids[record.endpoint_id]
        answered_ns = record.first_token_ns
        if (prefilled_ns := answered_ns or ended_ns) is not None:
            yield from _slice(record, pid, "prefill", record.sent_ns, prefilled_ns)
        if answered_ns is not None and ended_ns is not None:
            yield from _slice(record, pid, "decode", answered_ns, ended_ns)
        if record.fate is Fate.FAILED:
            yield _instant(record, pid, f"failed: {record.reason}", ended_ns)


def _slice(
    record: RequestRecord, pid: int, name: str, start_ns: int, end_ns: int
) -> Iterator[Event]:
    told = {
        "prompt_tokens": record.prompt_tokens,
        "cached_tokens": record.cached_tokens,
        "output_tokens": record.output_tokens,
        "fate": record.fate,
    }
    yield _event(record, pid, "b", name, start_ns) | {"args": told}
    yield _event(record, pid, "e", name, end_ns)


def _instant(record: RequestRecord, pid: int, name: str, at_ns: int | None) -> Event:
    assert at_ns is not None
    return _event(record, pid, "n", name, at_ns)


def _event(record: RequestRecord, pid: int, phase: str, name: str, at_ns: int) -> Event:
    return {
        "ph": phase,
        "cat": "request",
        "id": record.request_id,
        "pid": pid,
        "tid": 0,
        "ts": at_ns / 1000,
        "name": name,
    }
