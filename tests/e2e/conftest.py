"""Engines that all end-to-end tests share, and a stack of router and Envoy per module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway_stack.engines import Engine, start_engines
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack
from headway_cli.demo.processes import Children


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chat_engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Engine]]:
    async with Children(tmp_path_factory.mktemp("chat")) as children:
        yield await start_engines(children, "chat", 3)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def code_engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Engine]]:
    async with Children(tmp_path_factory.mktemp("code")) as children:
        yield await start_engines(children, "code", 2)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one_pool(
    chat_engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("one-pool"), chat_engines) as stack:
        yield stack
