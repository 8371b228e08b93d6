"""Engines of an end-to-end test, and what they say of themselves."""

import re
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from headway_cli.demo.counters import EngineCounters, read_counters
from headway_cli.demo.fleet import headway
from headway_cli.demo.processes import Child, Children, ready_line

_READY = re.compile(r" on http://(?P<address>[^ ,]+), control on (?P<control>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    child: Child
    model: str
    address: str
    control_url: str

    async def fault(self, session: aiohttp.ClientSession, name: str, **fields: object) -> None:
        """Switches on what the control port knows by that name."""
        async with session.post(f"{self.control_url}/{name}", json=fields) as response:
            response.raise_for_status()

    async def in_flight(self, session: aiohttp.ClientSession) -> int:
        """Requests that it runs or lets wait."""
        url = f"http://{self.address}/metrics"
        running = await metric(session, url, "vllm:num_requests_running")
        return int(running + await metric(session, url, "vllm:num_requests_waiting"))

    async def counters(self, session: aiohttp.ClientSession) -> EngineCounters:
        return await read_counters(session, self.address)


async def metric(session: aiohttp.ClientSession, url: str, name: str, **labels: str) -> float:
    """The sum over all series of the page that have these labels."""
    async with session.get(url) as response:
        page = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def start_engines(
    children: Children,
    model: str,
    count: int,
    dilation: float = 1.0,
    max_num_seqs: int = 256,
    first: int = 0,
    **flags: object,
) -> list[Engine]:
    """Engines of the profile "tiny"; they start at the same time.  ``first``: its number."""
    command = headway("engine", port=0, control_port=0, served_model_name=model, **flags)
    command += [f"--dilation={dilation}", f"--max-num-seqs={max_num_seqs}"]
    command += ["--enable-prompt-tokens-details"]
    names = [f"{model}-{number}" for number in range(first, first + count)]
    started = [await children.start(name, command) for name in names]
    return [_engine(child, model, await ready_line(child)) for child in started]


async def started_again(children: Children, engine: Engine) -> Engine:
    """In the place of one that has ended: on its ports."""
    ports = {"port": engine.address, "control-port": engine.control_url}
    own = [f"--{name}={address.rpartition(':')[2]}" for name, address in ports.items()]
    child = await children.start(f"{engine.child.name}-again", [*engine.child.command, *own])
    return _engine(child, engine.model, await ready_line(child))


def _engine(child: Child, model: str, line: str) -> Engine:
    found = _READY.search(line)
    assert found is not None, line
    return Engine(child=child, model=model, address=found["address"], control_url=found["control"])
