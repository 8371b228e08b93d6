"""The trace of a run: every request's phases, where they happened, in order."""

import json
from collections import defaultdict
from io import StringIO
from typing import Any

from headway_sim.perfetto import ROUTER_PID, write_trace
from headway_sim.world.records import Fate, RequestRecord

ENGINES = {"10.0.0.1:8000": "h100/a", "10.0.0.2:8000": "h100/b"}


def a_record(number: int, **known: Any) -> RequestRecord:
    return RequestRecord(
        number=number,
        arrived_ns=1_000_000 * number,
        prompt_tokens=10,
        estimated_tokens=11,
        output_tokens=3,
        session=None,
        replica=0,
        **known,
    )


def events(*records: RequestRecord) -> list[dict[str, Any]]:
    file = StringIO()
    write_trace(records, ENGINES, file)
    found = json.loads(file.getvalue())
    assert found["displayTimeUnit"] == "ms"
    return list(found["traceEvents"])


def phases(*records: RequestRecord) -> dict[str, list[tuple[str, str, int, float]]]:
    """(phase, name, process, microseconds) by request."""
    found = defaultdict(list)
    for event in events(*records):
        if event["ph"] != "M":
            told = (event["ph"], event["name"], event["pid"], event["ts"])
            found[event["id"]].append(told)
    return found


def test_router_and_engines_have_a_track_each() -> None:
    names = {event["pid"]: event["args"]["name"] for event in events()}
    assert names == {
        ROUTER_PID: "router",
        2: "h100/a (10.0.0.1:8000)",
        3: "h100/b (10.0.0.2:8000)",
    }


def test_a_finished_request_was_held_prefilled_and_decoded() -> None:
    served = a_record(
        1,
        fate=Fate.FINISHED,
        endpoint_id="10.0.0.2:8000",
        sent_ns=3_000_000,
        first_token_ns=5_000_500,
        ended_ns=9_000_000,
    )
    assert phases(served)["r1"] == [
        ("b", "held", 1, 1000.0),
        ("e", "held", 1, 3000.0),
        ("b", "prefill", 3, 3000.0),
        ("e", "prefill", 3, 5000.5),
        ("b", "decode", 3, 5000.5),
        ("e", "decode", 3, 9000.0),
    ]


def test_what_went_at_once_was_not_held_and_what_was_shed_went_nowhere() -> None:
    at_once = a_record(1, fate=Fate.IN_FLIGHT, endpoint_id="10.0.0.1:8000", sent_ns=1_000_000)
    shed = a_record(2, fate=Fate.SHED, reason="deadline", ended_ns=4_000_000)
    failed = a_record(
        3,
        fate=Fate.FAILED,
        reason="engine lost",
        endpoint_id="10.0.0.1:8000",
        sent_ns=3_000_000,
        ended_ns=6_000_000,
    )
    found = phases(at_once, shed, failed)
    assert set(found) == {"r2", "r3"}
    assert found["r2"] == [
        ("b", "held", 1, 2000.0),
        ("e", "held", 1, 4000.0),
        ("n", "shed: deadline", 1, 4000.0),
    ]
    assert found["r3"] == [
        ("b", "prefill", 2, 3000.0),
        ("e", "prefill", 2, 6000.0),
        ("n", "failed: engine lost", 2, 6000.0),
    ]
