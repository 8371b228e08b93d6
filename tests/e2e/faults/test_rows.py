"""Faults under load, one after the other: no request is lost, mixed up or cut short in silence.

300 requests of each on the default transport, or 10,000 on both with ``make soak``; the table:
`docs/faults.md`.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine_contract.undisturbed import undisturbed
from fault_rows.load import Ending
from fault_rows.page import markdown
from fault_rows.rig import Rig, rigged
from fault_rows.rows import ROWS, Row
from gateway_stack.stack import engines_are_idle, leases_returned
from headway_router.settings import Settings
from machine_cache import Tell

SOAK = os.environ.get("HEADWAY_SOAK") == "1"
DEFAULT_TRANSPORT = Settings.model_fields["transport"].default
TRANSPORTS = ["h2", "grpc-aio"] if SOAK else [DEFAULT_TRANSPORT]
PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=TRANSPORTS)
async def rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    async with rigged(tmp_path_factory.mktemp("faults"), request.param) as one:
        yield one


@pytest.mark.slow
@pytest.mark.timeout(3600 if SOAK else 300)
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
@undisturbed
async def test_nothing_is_lost(rig: Rig, row: Row, tell: Tell) -> None:
    await rig.fault(rig.engines, "heal")  # An experiment that is taken again may have left it so.
    await engines_are_idle(rig.several)
    report = await row.bring_about(rig)
    if SOAK:
        tell(f"{row.fault}: {dict(report.endings)}")
    assert report.endings.keys() <= report.expected, report.endings
    assert report.endings.total() >= rig.scale.requests
    await leases_returned(rig.several)
    await engines_are_idle(rig.several)
    await rig.reading(0, "headway_held_requests")
    await rig.reading(0, "headway_streams_open")
    if report.finished is not None:
        assert report.finished == report.endings[Ending.ANSWERED], "answered twice, or not by us"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == markdown()
