"""Draws the pools: what they are now, and how fast they go since the look before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headway_cli.top.sums import EndpointSum, PoolSum

Pools = Mapping[str, PoolSum]
UNKNOWN = "-"
_STYLES = {"ready": "green", "warming": "yellow", "draining": "yellow", "unreachable": "red"}


@dataclass(frozen=True, slots=True)
class Look:
    """What the routers said at one instant."""

    at_s: float
    pools: Pools
    routers: int
    problems: Sequence[str] = ()
    """Of routers that did not answer."""


def drawn(now: Look, before: Look | None) -> RenderableType:
    """``before`` None: shares and numbers since the routers began, and no rates."""
    parts: list[RenderableType] = [Text(f"{now.routers} routers", style="bold")]
    parts += [Text(problem, style="red") for problem in now.problems]
    for name, pool in now.pools.items():
        earlier = before.pools.get(name) if before else None
        elapsed_s = now.at_s - before.at_s if before else 0.0
        parts += [Text(), _heading(name, pool, earlier, elapsed_s), _engines(pool)]
    return Group(*parts)


def _heading(name: str, pool: PoolSum, before: PoolSum | None, elapsed_s: float) -> Text:
    line = Text.assemble((name, "bold"))
    for part in _facts(pool, before, elapsed_s):
        line.append(f"  {part}")
    return line


def _facts(pool: PoolSum, before: PoolSum | None, elapsed_s: float) -> Iterator[str]:
    earlier = before or PoolSum()
    placed = pool.requests.get("placed", 0)
    if before is not None and elapsed_s > 0:
        yield f"{(placed - earlier.requests.get('placed', 0)) / elapsed_s:.1f} req/s"
    else:
        yield f"{placed} requests"
    prompt_tokens = pool.prompt_tokens - earlier.prompt_tokens
    hit_tokens = pool.hit_tokens - earlier.hit_tokens
    yield f"hit {_percent(hit_tokens / prompt_tokens if prompt_tokens > 0 else None)}"
    yield f"in flight {pool.leases}"
    yield f"held {pool.held}"
    if shed := pool.requests.get("shed", 0):
        yield f"shed {shed}"


def _engines(pool: PoolSum) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("endpoint", "name", "group", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("leases", "prefill", "held", "backlog s", "waiting", "running", "kv", "age s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for endpoint_id, endpoint in pool.endpoints.items():
        table.add_row(endpoint_id, *_cells(endpoint))
    return table


def _cells(endpoint: EndpointSum) -> Iterator[RenderableType]:
    yield endpoint.name
    yield endpoint.group
    yield Text(endpoint.state, style=_STYLES.get(endpoint.state, ""))
    yield str(endpoint.leases)
    yield str(endpoint.unprefilled)
    yield str(endpoint.held)
    yield f"{endpoint.backlog_s:.2f}"
    yield _count(endpoint.waiting)
    yield _count(endpoint.running)
    yield _percent(endpoint.kv_usage)
    yield UNKNOWN if endpoint.view_age_s is None else f"{endpoint.view_age_s:.1f}"


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"
