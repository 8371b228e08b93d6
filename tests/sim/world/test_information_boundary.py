"""A picker cannot reach the truth: by construction, whatever it tries."""

import types
from collections.abc import Iterator
from random import Random

import pytest

from headway_core.policy import Fleet
from headway_core.router import Router
from headway_sim.baselines import BASELINES
from headway_sim.engine import Engine, EngineRequest
from headway_sim.kernel import Kernel
from headway_sim.pickers import Picker, ProductionPicker
from headway_sim.traffic import Issued, OpenLoop
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.world.gateway import Gateway, Journey
from headway_sim.world.hosts import Host
from headway_sim.world.records import RequestRecord
from headway_sim.world.replica import Replica
from headway_sim.world.setting import KvEvents, Observation, Setting
from headway_sim.world.testing import a_fleet, a_request, an_engine
from headway_sim.world.world import World

TRUTH = (
    Engine,
    EngineRequest,
    Gateway,
    Host,
    Issued,
    Journey,
    Kernel,
    Replica,
    RequestRecord,
    WorkloadRequest,
    World,
)
PRODUCTION = "headway"


def reachable(root: object) -> Iterator[object]:
    """Everything one gets to from ``root`` by attributes, items, closures and bound methods.

    Not by way of classes and modules, which hold code and no state of a run.
    """
    seen: set[int] = set()
    stack = [root]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType | str | int | float):
            continue
        seen.add(id(value))
        yield value
        stack.extend(_parts(value))


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset) or hasattr(value, "maxlen"):
        yield from value  # type: ignore[misc]
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            if hasattr(value, mangled):
                yield getattr(value, mangled)
    if isinstance(value, types.MethodType):
        yield value.__self__
        yield value.__func__
    if isinstance(value, types.FunctionType):
        yield from (cell.cell_contents for cell in value.__closure__ or ())
        yield from value.__defaults__ or ()


def make(name: str, replica: int) -> Picker:
    if name == PRODUCTION:
        return ProductionPicker(Router(Random(replica)))
    return BASELINES[name].picker(Random(replica), sees_first_tokens=True, parameters={})


@pytest.mark.parametrize("name", [PRODUCTION, *BASELINES])
def test_no_truth_is_reachable_from_a_picker_in_the_middle_of_a_run(name: str) -> None:
    pickers: list[Picker] = []

    def build(replica: int, starts: int) -> Picker:
        pickers.append(make(name, replica))
        return pickers[-1]

    names = ["a", "b", "c"]
    requests = [
        a_request(0.02 * i, prompt=400, output=40, text=f"text {i % 7}") for i in range(300)
    ]
    world = World(
        fleet=a_fleet(names),
        engines={endpoint: an_engine(seats=4) for endpoint in names},
        traffic=OpenLoop(requests),
        make_picker=build,
        setting=Setting(replicas=2, observation=Observation(kv_events=KvEvents())),
    )
    run = world.run(until_s=4.0)
    assert any(record.ended_ns is None for record in run.records)
    for picker in pickers:
        found = list(reachable(picker))
        assert len(found) > 100
        assert any(isinstance(value, Fleet) or hasattr(value, "endpoint_id") for value in found)
        assert [value for value in found if isinstance(value, TRUTH)] == []


def test_the_search_would_find_an_engine_behind_a_closure_or_a_bound_method() -> None:
    spec = an_engine()
    engine = Engine(spec.config, spec.step_model)
    behind = [lambda: engine, engine.stats, {"x": (engine,)}, [[engine]]]
    for value in behind:
        assert engine in list(reachable(value))
