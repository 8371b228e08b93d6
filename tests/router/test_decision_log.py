"""What a router writes of its decisions: a sample by the policies, without anybody's prompt."""

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from headway_core.events import Finished, FirstToken, Scraped
from headway_core.facts import EngineView, InferenceRequest, Slo
from headway_core.outcomes import (
    Candidate,
    Decision,
    Held,
    Lease,
    Leg,
    Outcome,
    Placed,
    Reason,
    Shed,
)
from headway_core.policy import Fleet, FlowControl, Observability, Policy
from headway_core.testing import a_chain, a_pool, a_request
from headway_router.decision_log import MAX_PENDING_BYTES, DecisionLog, is_sampled
from headway_router.errors import CannotWrite
from headway_router.metric_labels import LogLineOutcome
from headway_router.metrics import Metrics
from headway_sim.decision_log import read, replay
from headway_sim.errors import InvalidLog

REQUESTS = 400


def fleet(share: float) -> Fleet:
    observability = Observability(decision_log_share=share)
    flow = FlowControl(queue_timeout_s=5.0)
    policy = Policy(observability=observability, flow_control=flow)
    everything = Policy(observability=Observability(decision_log_share=1.0))
    return Fleet(
        pools=(
            a_pool(["a", "b"], policy=policy),
            a_pool(["c"], policy=everything, name="default/n", model="n"),
        )
    )


async def written(log: DecisionLog, path: Path) -> list[dict[str, Any]]:
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(log.run())
        await asyncio.sleep(0)
        writer.cancel()
    text = await asyncio.to_thread(path.read_text)
    return [json.loads(line) for line in text.splitlines()]


def drive(log: DecisionLog, model: str) -> list[str]:
    """Requests of which many are held; returns their ids."""
    ids = []
    for number in range(REQUESTS):
        request = a_request(blocks=a_chain(number, 6), request_id=f"{model}{number}", model=model)
        ids.append(request.request_id)
        log.core.place(request, number / 100)
    log.core.observe(Scraped("a", EngineView(waiting=0)), 5.0)
    for request_id in ids:
        log.core.observe(FirstToken(request_id), 6.0)
        log.core.observe(Finished(request_id), 6.0)
    for _ in range(100):
        due = log.core.next_deadline()
        log.core.tick(20.0 if due is None else due)
    return ids


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
async def test_a_share_of_each_pools_requests_is_logged_from_decision_to_end(
    share: float, tmp_path: Path
) -> None:
    path, metrics = tmp_path / "log", Metrics()
    log = DecisionLog(str(path), is_complete=False, metrics=metrics)
    log.core.apply(fleet(share), 0.0)
    ids, others = drive(log, "m"), drive(log, "n")
    rows = await written(log, path)
    placed = [row["argument"]["request_id"] for row in rows if row["call"] == "place"]
    chosen = [i for i in ids if is_sampled(i, share)]
    assert placed == [*chosen, *others]
    assert abs(len(chosen) - share * REQUESTS) <= 40, "five standard deviations"
    ended = {r["argument"]["request_id"] for r in rows if r["call"] == "Finished"}
    told: dict[str, list[str]] = {}
    for row in rows[1:]:
        for outcome in row["outcomes"]:
            [(name, fields)] = outcome.items()
            told.setdefault(fields["request_id"], []).append(name)
    assert told.keys() == set(placed)
    assert {tuple(names) for names in told.values()} >= {("placed",), ("held", "placed")}
    assert ended == {i for i, names in told.items() if names[-1] == "placed"} | {
        i for i, names in told.items() if names == ["held"]
    }
    assert not any(row["call"] in ("apply", "Scraped") for row in rows)
    lines = metrics.log_lines.labels(LogLineOutcome.WRITTEN).value
    assert lines == len(rows)
    assert len(list(read(path))) == len(rows)
    with pytest.raises(InvalidLog, match="is a sample"):
        replay(path)


def test_an_explained_request_is_not_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(str(path), is_complete=True, metrics=Metrics())
    log.core.apply(fleet(1.0), 0.0)
    log.core.explain(a_request(), 0.0)
    assert [line.get("call") for line in asyncio.run(written(log, path))] == ["start", "apply"]


async def test_a_request_without_a_pool_is_logged_as_one_without_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(str(path), is_complete=False, metrics=Metrics())
    log.core.apply(fleet(0.0), 0.0)
    outcomes: list[Outcome] = [
        log.core.place(a_request(model="?", request_id=f"x{n}"), 0.0) for n in range(2000)
    ]
    rows = await written(log, path)
    expected = [o.request_id for o in outcomes if is_sampled(o.request_id, 0.01)]
    assert expected
    assert [row["argument"]["request_id"] for row in rows[1:]] == expected


async def test_lines_that_cannot_be_written_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    path, metrics = tmp_path / "log", Metrics()
    log = DecisionLog(str(path), is_complete=True, metrics=metrics)
    log.core.apply(fleet(1.0), 0.0)
    request = a_request(blocks=a_chain(1, 40_000), prompt_tokens=10_000_000)
    line_bytes = 40_000 * 10
    for number in range(MAX_PENDING_BYTES // line_bytes + 40):
        log.core.place(a_request(blocks=request.blocks, request_id=f"r{number}"), 0.0)
    lost = metrics.log_lines.labels(LogLineOutcome.LOST)
    assert lost.value > 0
    rows = await written(log, path)
    assert path.stat().st_size <= MAX_PENDING_BYTES
    assert metrics.log_lines.labels(LogLineOutcome.WRITTEN).value == len(rows)


def test_a_file_that_cannot_be_opened_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"--decision-log: cannot write .*: No such file"):
        DecisionLog(str(tmp_path / "missing" / "log"), is_complete=True, metrics=Metrics())


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "does not begin with the start"),
        ([{"version": 9}], "line 1: has the version 9 of the format, not 1"),
        ([{"version": 1, "call": "jump"}], "line 1: has no or an unknown jump"),
        (
            [{"version": 1, "call": "Finished", "at_s": 1, "argument": {}, "outcomes": []}],
            r"line 1: is no call: .*request_id",
        ),
    ],
)
def test_a_log_that_is_none_is_named_by_its_line(
    lines: list[dict[str, Any]], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InvalidLog, match=f"(?s){problem}"):
        replay(path)


def test_the_page_names_every_field_of_a_line() -> None:
    page = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text()
    kinds = (InferenceRequest, Slo, Placed, Held, Shed, Decision, Candidate, Leg, Lease)
    names = {field.name for kind in kinds for field in fields(kind)}
    assert not {name for name in names if f"`{name}`" not in page}
    assert not {reason for reason in Reason if f"`{reason}`" not in page}
