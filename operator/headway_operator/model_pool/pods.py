"""The pods of a Deployment group: the user's template with all that vLLM needs merged in."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from headway_api.model_pool import Group, ModelPool
from headway_api.workload import TopologySpread
from headway_operator.errors import InvalidSpec
from headway_operator.model_pool.flags import Flag, merged
from headway_operator.names import GROUP, POOL, PREFIX, ROLE, Manifest

ENGINE = "engine"
"""Name of the container that is the engine."""
GRACE = "terminationGracePeriodSeconds"
TEARDOWN_S = 10
"""From the end of the last request to the end of the engine's process."""
STARTUP_CHECKS, STARTUP_PERIOD_S = 180, 10
"""Half an hour for loading weights."""
READINESS_PERIOD_S = 5

_TOPOLOGY = {
    TopologySpread.ZONE: "topology.kubernetes.io/zone",
    TopologySpread.HOST: "kubernetes.io/hostname",
}


def labels(pool: ModelPool, group: Group) -> dict[str, str]:
    return {POOL: pool.metadata.name, GROUP: group.name, ROLE: group.role.value}


def pod_template(pool: ModelPool, group: Group, field: str) -> Manifest:
    """``field`` is the group's, ``spec.groups[0]``.

    Raises: InvalidSpec: the template contradicts the pool.
    """
    assert group.template is not None, "the API lets no Deployment group pass without"
    field = f"{field}.template"
    metadata = group.template.metadata
    for kind, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        if reserved := sorted(key for key in entries if key.startswith(PREFIX)):
            raise InvalidSpec(f"{field}.metadata.{kind}", f"{reserved[0]} is the operator's")
    spec: Manifest = deepcopy(group.template.spec)
    own = labels(pool, group)
    _merge_engine(_engine(spec, f"{field}.spec"), pool, group, f"{field}.spec")
    _merge_grace(spec, pool, f"{field}.spec")
    if topology := _TOPOLOGY.get(pool.spec.availability.topology_spread):
        constraint = {
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": own},
        }
        spec.setdefault("topologySpreadConstraints", [constraint])
    template: Manifest = {"metadata": {"labels": {**metadata.labels, **own}}, "spec": spec}
    if metadata.annotations:
        template["metadata"]["annotations"] = dict(metadata.annotations)
    return template


def _engine(spec: Manifest, field: str) -> Manifest:
    for container in _items(spec, "containers", field):
        if container.get("name") == ENGINE:
            return container
    raise InvalidSpec(f"{field}.containers", f"there is no container {ENGINE}")


def _merge_engine(container: Manifest, pool: ModelPool, group: Group, field: str) -> None:
    at = f"{field}.containers[{ENGINE}]"
    port = pool.spec.engine.port
    command = _words(container, "command", at) if "command" in container else []
    arguments = _words(container, "args", at)
    container["args"] = merged(command, arguments, [*_flags(pool, group)], at)
    _merge_port(container, port, at)
    _merge_accelerators(container, group, at)
    health = {"httpGet": {"path": "/health", "port": port}}
    container.setdefault(
        "startupProbe",
        {**health, "periodSeconds": STARTUP_PERIOD_S, "failureThreshold": STARTUP_CHECKS},
    )
    container.setdefault("readinessProbe", {**health, "periodSeconds": READINESS_PERIOD_S})
    if seconds := pool.spec.drain.pre_stop_seconds:
        lifecycle = _mapping(container, "lifecycle", at)
        lifecycle.setdefault("preStop", {"sleep": {"seconds": seconds}})


def _flags(pool: ModelPool, group: Group) -> Iterator[Flag]:
    spec, sizes = pool.spec, group.parallelism
    names = (spec.model.name, *spec.model.aliases)
    yield Flag("--served-model-name", names, "spec.model")
    yield Flag("--port", (str(spec.engine.port),), "spec.engine.port", default="8000")
    for name in ("tensor", "pipeline", "data"):
        size = str(getattr(sizes, name))
        source = f"the group's parallelism.{name}"
        yield Flag(f"--{name}-parallel-size", (size,), source, default="1")
    # Without it the engine aborts what runs as soon as it is told to stop.
    timeout = str(spec.drain.timeout_seconds)
    yield Flag("--shutdown-timeout", (timeout,), "spec.drain.timeoutSeconds", default="0")


def _merge_port(container: Manifest, port: int, field: str) -> None:
    ports = _items(container, "ports", field)
    for declared in ports:
        if declared.get("name") == "http" and declared.get("containerPort") != port:
            problem = f"http is {declared.get('containerPort')}, spec.engine.port says {port}"
            raise InvalidSpec(f"{field}.ports", problem)
    if not any(declared.get("containerPort") == port for declared in ports):
        ports.append({"name": "http", "containerPort": port, "protocol": "TCP"})


def _merge_accelerators(container: Manifest, group: Group, field: str) -> None:
    if group.accelerator is None or group.accelerator.count_per_replica == 0:
        return
    name, count = group.accelerator.resource_name, str(group.accelerator.count_per_replica)
    limits = _mapping(_mapping(container, "resources", field), "limits", f"{field}.resources")
    if str(limits.setdefault(name, count)) != count:
        problem = f"{name} is {limits[name]}, accelerator.countPerReplica says {count}"
        raise InvalidSpec(f"{field}.resources.limits", problem)


def _merge_grace(spec: Manifest, pool: ModelPool, field: str) -> None:
    drain = pool.spec.drain
    needed = drain.pre_stop_seconds + drain.timeout_seconds + TEARDOWN_S
    given = spec.setdefault(GRACE, needed)
    if not isinstance(given, int):
        raise InvalidSpec(f"{field}.{GRACE}", "is no integer")
    if given < needed:
        problem = f"{given} is less than the {needed} that spec.drain needs:"
        parts = f"preStopSeconds + timeoutSeconds + {TEARDOWN_S}"
        raise InvalidSpec(f"{field}.{GRACE}", f"{problem} {parts}")


def _mapping(holder: Manifest, name: str, field: str) -> Manifest:
    """The field, which is made if it is not there; nothing has checked the template so far."""
    if holder.get(name) is None:
        holder[name] = {}
    found = holder[name]
    if not isinstance(found, dict):
        raise InvalidSpec(f"{field}.{name}", "is no mapping")
    return found


def _items(holder: Manifest, name: str, field: str) -> list[Manifest]:
    return _list(holder, name, field, dict, "mappings")


def _words(holder: Manifest, name: str, field: str) -> list[str]:
    return _list(holder, name, field, str, "strings")


def _list(holder: Manifest, name: str, field: str, kind: type, what: str) -> list[Any]:
    if holder.get(name) is None:
        holder[name] = []
    found = holder[name]
    if not (isinstance(found, list) and all(isinstance(item, kind) for item in found)):
        raise InvalidSpec(f"{field}.{name}", f"is no list of {what}")
    return found
