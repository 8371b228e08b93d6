"""``headway top``: several routers' pages added up, and drawn."""

import asyncio
import json
from typing import Any

import pytest
from rich.console import Console

from headway_cli.top import main
from headway_cli.top.sums import add_up
from headway_cli.top.view import Look, drawn
from headway_core.events import Scraped, Unreachable
from headway_core.facts import EngineView
from headway_core.outcomes import Placed
from headway_core.policy import FlowControl, Policy
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router
from headway_router.debug import debug_page
from headway_router.metrics import Metrics
from headway_router.pages import Page, serving_pages


def a_page(core: Router, metrics: Metrics) -> bytes:
    return debug_page(
        core,
        now=2.0,
        process={},
        configuration={},
        requests=metrics.requests(),
        predicted_tokens={
            "prompt": metrics.prompt_tokens.by_label(),
            "hit": metrics.hit_tokens.by_label(),
        },
        caches={},
    )


def a_router_with_load(requests: int, scraped_s: float) -> tuple[Router, Metrics]:
    """Each request but the first finds the prompt of the one before in a cache."""
    policy = Policy(flow_control=FlowControl(enabled=False))
    core, metrics = a_router(a_pool(["a", "b"], policy=policy)), Metrics()
    core.observe(Scraped("a", EngineView(waiting=1, running=7, kv_usage=0.25)), scraped_s)
    core.observe(Unreachable("b"), 1.0)
    for _ in range(requests):
        request = a_request(blocks=a_chain(1, 4))
        outcome = core.place(request, 1.0)
        assert isinstance(outcome, Placed)
        metrics.outcome(outcome, prompt_tokens=request.prompt_tokens)
    return core, metrics


def text_of(now: Look, before: Look | None) -> str:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(drawn(now, before))
    return captured.get()


def test_routers_are_added_up_and_the_freshest_scrape_counts() -> None:
    pages: list[Any] = [
        json.loads(a_page(*a_router_with_load(1, 1.5))),
        json.loads(a_page(*a_router_with_load(2, 0.5))),
    ]
    pool = add_up(pages)["default/m"]
    assert (pool.leases, pool.held, pool.requests) == (3, 0, {"placed": 3})
    assert (pool.prompt_tokens, pool.hit_tokens) == (3 * 1025, 1024)
    a, b = pool.endpoints["a"], pool.endpoints["b"]
    assert (a.leases, a.running, a.kv_usage, a.view_age_s) == (3, 7, 0.25, 0.5)
    assert (b.state, b.view_age_s) == ("unreachable", None)


def test_rates_and_hit_shares_are_those_since_the_look_before() -> None:
    core, metrics = a_router_with_load(1, 1.0)
    before = Look(10.0, add_up([json.loads(a_page(core, metrics))]), 1)
    for _ in range(4):
        outcome = core.place(a_request(blocks=a_chain(1, 4)), 1.0)
        metrics.outcome(outcome, prompt_tokens=1025)
    now = Look(12.0, add_up([json.loads(a_page(core, metrics))]), 1)
    assert "default/m  2.0 req/s  hit 100 %  in flight 5  held 0" in text_of(now, before)
    assert "default/m  5 requests  hit 80 %" in text_of(now, None)


def test_a_pool_without_a_request_has_no_hit_share() -> None:
    page: Any = json.loads(a_page(a_router(a_pool(["a"])), Metrics()))
    assert "default/m  0 requests  hit -" in text_of(Look(0.0, add_up([page]), 1), None)


async def test_one_look_at_two_routers_of_which_one_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = a_page(*a_router_with_load(3, 1.0))
    pages = {"/debug": Page("application/json", lambda: page)}
    async with serving_pages("127.0.0.1", 0, pages) as port:
        flags = ["--once", "--router", f"127.0.0.1:{port}", "--router", "127.0.0.1:1"]
        assert await asyncio.to_thread(main, flags) == 0
    said = capsys.readouterr().out
    assert "1 routers" in said and "router 127.0.0.1:1 does not answer" in said
    assert "default/m  3 requests" in said
    assert main(["--once", "--router", "127.0.0.1:1"]) == 1
