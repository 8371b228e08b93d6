"""Six engines in two pools, two routers and an Envoy, for one fault after the other."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_contract.process import free_port
from fault_rows.load import Ending, Load, load
from gateway_stack import shifted_clock
from gateway_stack.engines import Engine, start_engines, started_again
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, eventually
from headway_cli.demo.processes import Children

CHAT, CODE = "chat", "code"
CHAT_ENGINES, CODE_ENGINES = 4, 2
MODELS = (CHAT, CHAT, CODE)
"""Every third request is for the small pool."""
STALE_AFTER_S = 1.0
HOUR_S = shifted_clock.HOUR_S

POLICIES: Mapping[str, Mapping[str, Any]] = {
    CHAT: {
        "strategy": {"staleAfterMs": int(1000 * STALE_AFTER_S)},
        "flowControl": {"queueTimeoutSeconds": 120},
        "observability": {"decisionLogPercent": 100},
    },
    CODE: {
        "strategy": {
            "staleAfterMs": int(1000 * STALE_AFTER_S),
            "affinity": {"prefix": {"mode": "Precise"}},
        },
    },
}
ROUTER_FLAGS: Mapping[str, Any] = {
    "routers": 2,
    "router_check_s": 0.25,
    "drain_timeout_s": 60,
    "drain_notice_s": 2,
    "program": (sys.executable, str(shifted_clock.__file__)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    requests: int = 300
    """Of each fault, at least."""
    outage_s: float = 0.0
    """How long metrics are gone, at least."""


@dataclass(kw_only=True)
class Report:
    """What became of the requests of one fault."""

    endings: Counter[Ending] = field(default_factory=Counter)
    expected: frozenset[Ending] = frozenset((Ending.ANSWERED,))
    finished: int | None = None
    """Requests that the engines finished; None: one was killed, and what it counted with it."""


class Rig:
    """``several``: both pools behind one gateway.  ``single``: the larger behind another."""

    def __init__(
        self,
        engines: list[Engine],
        children: Children,
        several: Stack,
        scale: Scale,
        transport: str,
    ) -> None:
        self.engines = engines
        self.transport = transport
        self.several = several
        self.scale = scale
        self._children = children

    @property
    def chat(self) -> Sequence[Engine]:
        return self.engines[:CHAT_ENGINES]

    @property
    def code(self) -> Sequence[Engine]:
        return self.engines[CHAT_ENGINES:]

    def load(
        self, stack: Stack | None = None, models: Sequence[str] | None = None
    ) -> AbstractAsyncContextManager[Load]:
        return load(stack or self.several, models or MODELS, self.scale.requests)

    async def fault(self, engines: Sequence[Engine], name: str, **fields: object) -> None:
        for engine in engines:
            await engine.fault(self.several.session, name, **fields)

    async def kill(self, engine: Engine) -> None:
        engine.child.process.kill()
        await engine.child.process.wait()

    async def revive(self, engine: Engine) -> Engine:
        """Start it again in its place, and wait until both routers have seen it."""
        again = await started_again(self._children, engine)
        self.engines[self.engines.index(engine)] = again
        await self.reading(0, "headway_endpoints", state="unreachable")
        return again

    async def finished(self) -> int:
        """Requests that the engines have finished."""
        session = self.several.session
        return sum([(await engine.counters(session)).requests for engine in self.engines])

    async def total(self, name: str, **labels: str) -> float:
        """Of a metric, over the routers."""
        stack = self.several
        return sum([await stack.metric(router, name, **labels) for router in stack.routers])

    async def reading(self, value: float, name: str, **labels: str) -> None:
        """Wait until a gauge, over the routers, is this."""

        async def is_so() -> bool:
            return await self.total(name, **labels) == value

        await eventually(is_so, f"{name}{labels or ''} is {value:g}")

    async def counts(self, name: str, more_than: float = 0, **labels: str) -> None:
        """Wait until a counter, over the routers, is above that."""

        async def is_so() -> bool:
            return await self.total(name, **labels) > more_than

        await eventually(is_so, f"{name}{labels or ''} is above {more_than:g}")

    async def shift_clocks(self, number: signal.Signals) -> None:
        for router in self.several.routers:
            router.child.process.send_signal(number)

    async def decisions(self) -> list[dict[str, Any]]:
        """The log of all routers so far."""
        text = await asyncio.to_thread(self.decision_log.read_text)
        return [json.loads(line) for line in text.splitlines()]

    @property
    def decision_log(self) -> Path:
        return self.several.config.parent / "decisions.jsonl"


@asynccontextmanager
async def rigged(folder: Path, transport: str) -> AsyncIterator[Rig]:
    soak = os.environ.get("HEADWAY_SOAK") == "1"
    scale = Scale(requests=10_000, outage_s=30.0) if soak else Scale()
    several = folder / "several"
    several.mkdir()
    async with Children(folder) as children, asyncio.TaskGroup() as tasks:
        starting = [tasks.create_task(start_engines(children, CHAT, CHAT_ENGINES))]
        for number in range(CODE_ENGINES):
            events = json.dumps(
                {
                    "enable_kv_cache_events": True,
                    "publisher": "zmq",
                    "endpoint": f"tcp://127.0.0.1:{free_port()}",
                    "topic": "kv@faults",
                }
            )
            one = start_engines(children, CODE, 1, first=number, kv_events_config=events)
            starting.append(tasks.create_task(one))
        engines = [engine for group in starting for engine in await group]
        async with running_stack(
            several,
            engines,
            policies=POLICIES,
            transport=transport,
            decision_log=several / "decisions.jsonl",
            **ROUTER_FLAGS,
        ) as stack:
            yield Rig(engines, children, stack, scale, transport)


@asynccontextmanager
async def single_pool(rig: Rig, folder: Path) -> AsyncIterator[Stack]:
    """A gateway of its own for the larger pool."""
    async with running_stack(folder, rig.chat, transport=rig.transport, **ROUTER_FLAGS) as stack:
        yield stack
