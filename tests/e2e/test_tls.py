"""A real Envoy that speaks TLS to the router, and a certificate that is replaced under load."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.certificates import Authority, Secret, number_of
from gateway_stack.engines import Engine
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, eventually, leases_returned, load
from headway_router.envoy import RouterTls

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

TRANSPORTS = pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
NAME = "router.example"
REQUESTS = 20


@TRANSPORTS
async def test_envoy_takes_a_router_that_has_signed_its_certificate_itself(
    transport: str, chat_engines: list[Engine], tmp_path: Path
) -> None:
    """Two processes, so that health is asked by TLS too."""
    tls = RouterTls()
    async with running_stack(
        tmp_path, chat_engines, processes=2, router_tls=tls, transport=transport
    ) as stack:
        await eventually(partial(all_are_placed, stack), "requests reach the routers")
        await leases_returned(stack)


@TRANSPORTS
async def test_a_certificate_is_replaced_under_load(
    transport: str, chat_engines: list[Engine], tmp_path: Path
) -> None:
    authority = Authority()
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(authority.certificate)
    secret = Secret(tmp_path / "tls", authority.issue(NAME))
    tls = RouterTls(ca_file=str(ca_file), server_name=NAME)
    flags: dict[str, Any] = {"transport": transport, "cert_dir": secret.folder}
    async with (
        running_stack(tmp_path, chat_engines, router_tls=tls, **flags) as stack,
        load(stack) as statuses,
    ):
        await eventually(partial(all_are_placed, stack), "requests reach the router")
        new = authority.issue(NAME)
        secret.put(new)
        port = int(stack.routers[0].ext_proc_address.rpartition(":")[2])

        async def is_served() -> bool:
            return await authority.number_served(port) == number_of(new)

        await eventually(is_served, "new connections get the new certificate")
        (secret.folder / "tls.key").unlink()
        await eventually(partial(has_problem, stack), "the router says that the key is missing")
        assert await is_served()
        before = len(statuses)
        await eventually(partial(all_are_placed, stack), "requests reach the router")
        failed = await stack.envoy_count("ext_proc", "streams_failed")
        failed_open = await stack.envoy_count("ext_proc", "failure_mode_allowed")
    assert len(statuses) > before
    assert set(statuses) == {200}
    assert (failed, failed_open) == (0, 0)


async def all_are_placed(stack: Stack) -> bool:
    """Whether as many as were sent were placed by routers, since before they were sent."""
    before = await placed(stack)
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(stack.complete(f"tls {n}")) for n in range(REQUESTS)]
    assert {answer.result().status for answer in answers} == {200}
    return await placed(stack) >= before + REQUESTS


async def placed(stack: Stack) -> float:
    return sum([await stack.metric(r, "headway_requests_total") for r in stack.routers])


async def has_problem(stack: Stack) -> bool:
    return await stack.metric(stack.routers[0], "headway_certificate_problems") == 1
