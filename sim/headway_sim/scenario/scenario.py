"""The scenario: everything that decides a run, and the way from it to the world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from headway_core.facts import EndpointId, Slo
from headway_core.policy import Fleet
from headway_core.prefix.mirror import Mirror
from headway_core.router import Router
from headway_sim.baselines.registry import Parameters, baseline
from headway_sim.cache_view import CacheView
from headway_sim.engine import Engine
from headway_sim.errors import InvalidScenario
from headway_sim.pickers import Picker, ProductionPicker
from headway_sim.scenario.workload import Workload
from headway_sim.seeds import Substreams
from headway_sim.world.hosts import EngineSpec
from headway_sim.world.setting import FirstTokens, Setting
from headway_sim.world.world import World

PRODUCTION = "headway"
"""The router core with the policy of the documents; any other name is a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Equal scenarios give equal runs.  Vary one with `dataclasses.replace`.

    Raises: InvalidScenario: an unknown policy, or a parameter it does not have.
    """

    name: str
    fleet: Fleet
    engines: Mapping[EndpointId, EngineSpec]
    workload: Workload
    setting: Setting = field(default_factory=Setting)
    policy: str = PRODUCTION
    parameters: Parameters = field(default_factory=dict)
    """Of a baseline; the production core takes its own from the documents."""
    model: str = ""
    """What the requests name; "" where there is one pool."""
    slo: Slo | None = None
    """What the report judges by.  None: the pool's own target."""
    tpot_slo_s: float | None = None
    """A bound on the mean time per output token; None: not judged."""
    literal_engines: bool = False
    """Engines go step by step and block by block: the same results, for those who doubt them."""
    until_s: float | None = None
    """When the run is cut off; None: it goes on until everybody is served."""

    def __post_init__(self) -> None:
        if self.policy == PRODUCTION:
            if self.parameters:
                raise InvalidScenario(
                    f"the policy {PRODUCTION!r} has no parameters: it is set by its RoutingPolicy"
                )
        else:
            self.make_picker()(0, 0)
            if len(self.fleet.pools) > 1:
                raise InvalidScenario(
                    f"the baseline {self.policy!r} routes one pool, there are several"
                )
        models = {"", *(model for pool in self.fleet.pools for model in pool.models)}
        if self.model not in models or (not self.model and len(self.fleet.pools) > 1):
            known = ", ".join(sorted(models - {""}))
            raise InvalidScenario(f"model {self.model!r} is not served; there are: {known}")

    @property
    def seed(self) -> int:
        return self.setting.seed

    def with_seed(self, seed: int) -> "Scenario":
        return replace(self, setting=replace(self.setting, seed=seed))

    def target(self) -> Slo | None:
        """What a request is judged by."""
        if self.slo is not None:
            return self.slo
        pools = [p for p in self.fleet.pools if self.model in ("", *p.models)]
        return pools[0].slo

    def make_picker(self) -> Callable[[int, int], Picker]:
        """(replica, how often it was started before) -> a picker that knows nothing yet."""
        streams = Substreams(self.seed)
        observation = self.setting.observation
        sees = observation.first_tokens is FirstTokens.TAP

        def make(replica: int, starts: int) -> Picker:
            rng = streams.stream("router", replica, starts)
            if observation.cache_view_s is None:
                return picker(rng, Mirror)
            view = CacheView(observation.cache_view_s)
            return view.seen_by(picker(rng, view.mirror))

        def picker(rng: Random, make_mirror: Callable[[], Mirror]) -> Picker:
            if self.policy == PRODUCTION:
                return ProductionPicker(Router(rng, make_mirror))
            return baseline(self.policy).picker(
                rng,
                sees_first_tokens=sees,
                parameters=self.parameters,
                make_mirror=make_mirror,
            )

        return make

    def world(self) -> World:
        """Raises: InvalidScenario, InvalidTrace."""
        return World(
            fleet=self.fleet,
            engines=self.engines,
            traffic=self.workload.traffic(self.seed),
            make_picker=self.make_picker(),
            setting=self.setting,
            model=self.model,
            build_engine=Engine if self.literal_engines else None,
        )
