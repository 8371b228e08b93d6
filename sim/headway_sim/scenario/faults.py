"""The faults of a scenario file, with the endpoints that they name."""

from collections.abc import Mapping, Sequence

from headway_core.facts import Endpoint, EndpointId
from headway_core.policy import Fleet
from headway_sim.errors import InvalidScenario
from headway_sim.scenario.shapes import FaultShape
from headway_sim.world.setting import Crash, Drain, Fault, Join, RouterRestart, Straggler


def faults(fleet: Fleet, shapes: Sequence[FaultShape]) -> tuple[Fault, ...]:
    """Raises: InvalidScenario: it is none or several, or of an endpoint that there is not."""
    names: dict[str, EndpointId] = {}
    for pool in fleet.pools:
        for endpoint in pool.endpoints:
            names[endpoint.endpoint_id] = endpoint.endpoint_id
            names[endpoint_name(endpoint)] = endpoint.endpoint_id
    return tuple(_fault(shape, names) for shape in shapes)


def endpoint_name(endpoint: Endpoint) -> str:
    """``group/name``, as people know it."""
    return f"{endpoint.group}/{endpoint.name}"


def _fault(shape: FaultShape, names: Mapping[str, EndpointId]) -> Fault:
    def known(name: str) -> EndpointId:
        if name not in names:
            there_are = ", ".join(name for name in names if "/" in name)
            raise InvalidScenario(f"no endpoint {name!r}; there are: {there_are}")
        return names[name]

    found: list[Fault] = []
    if crash := shape.crash:
        found.append(
            Crash(
                endpoint_id=known(crash.endpoint), at_s=crash.at_seconds, down_s=crash.down_seconds
            )
        )
    if slow := shape.straggler:
        found.append(
            Straggler(
                endpoint_id=known(slow.endpoint),
                at_s=slow.at_seconds,
                for_s=slow.for_seconds,
                factor=slow.factor,
            )
        )
    if drain := shape.drain:
        found.append(
            Drain(
                endpoint_id=known(drain.endpoint),
                at_s=drain.at_seconds,
                grace_s=drain.grace_seconds,
            )
        )
    if join := shape.join:
        found.append(
            Join(endpoint_id=known(join.endpoint), at_s=join.at_seconds, start_s=join.start_seconds)
        )
    if restart := shape.router_restart:
        found.append(
            RouterRestart(
                replica=restart.replica, at_s=restart.at_seconds, down_s=restart.down_seconds
            )
        )
    if len(found) != 1:
        raise InvalidScenario(
            f"{len(found)} faults in one entry; allowed: one of crash, straggler, drain, join and"
            " routerRestart"
        )
    return found[0]
