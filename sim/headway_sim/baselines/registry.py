"""The table of baselines, and how one is built with other parameters than its defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from random import Random
from types import MappingProxyType
from typing import cast

from headway_core.prefix.mirror import Mirror
from headway_sim.baselines import (
    aibrix,
    chwbl,
    dynamo,
    kthena,
    llmd,
    lmetric,
    mooncake,
    preble,
    sglang,
    simple,
)
from headway_sim.baselines.dualmap import DualMap, Primary
from headway_sim.baselines.picker import RulePicker
from headway_sim.baselines.rule import Rule
from headway_sim.errors import InvalidScenario
from headway_sim.pickers import Picker

Parameter = bool | int | float
Parameters = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A rule with its settings; ``kind`` is a dataclass of a rule, or `DualMap`."""

    kind: type
    settings: Mapping[str, object] = field(default_factory=dict)

    def parameters(self) -> dict[str, Parameter]:
        """What can be set, with the defaults."""
        found: dict[str, Parameter] = {}
        for one in fields(self.kind):
            value = self.settings.get(one.name, one.default)
            if one.init and isinstance(value, bool | int | float):
                found[one.name] = value
        return found

    def picker(
        self,
        rng: Random,
        *,
        sees_first_tokens: bool,
        parameters: Parameters,
        make_mirror: Callable[[], Mirror] = Mirror,
    ) -> Picker:
        """Raises: InvalidScenario: a parameter that it does not have, or of another type."""
        settings = {**self.settings, **self._checked(parameters)}
        if self.kind is DualMap:
            settings["make_mirror"] = make_mirror
            return DualMap(rng, sees_first_tokens, **settings)  # type: ignore[arg-type]
        make = cast("Callable[..., Rule]", self.kind)
        return RulePicker(
            make(rng, **settings), sees_first_tokens=sees_first_tokens, make_mirror=make_mirror
        )

    def _checked(self, parameters: Parameters) -> dict[str, object]:
        known = self.parameters()
        for name, value in parameters.items():
            if name not in known:
                names = ", ".join(known) or "none"
                raise InvalidScenario(f"unknown parameter {name!r}; there are: {names}")
            wanted = type(known[name])
            fits = type(value) is wanted or (wanted is float and type(value) is int)
            if not fits:
                raise InvalidScenario(f"parameter {name!r} must be {_NOUNS[wanted]}, got {value!r}")
        return dict(parameters)


_NOUNS = {bool: "true or false", int: "an integer", float: "a number"}


def _dualmap(primary: Primary, *, rebalances: bool) -> Baseline:
    return Baseline(DualMap, {"primary": primary, "rebalances": rebalances})


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "round-robin": Baseline(simple.RoundRobin),
        "random": Baseline(simple.UniformRandom),
        "least-requests": Baseline(simple.LeastRequests),
        "least-pending-tokens": Baseline(simple.LeastPendingTokens),
        "min-ttft": Baseline(mooncake.MinTtft),
        "max-cached-prefix": Baseline(mooncake.MaxCachedPrefix),
        "chwbl": Baseline(chwbl.Chwbl),
        "sglang": Baseline(sglang.CacheAware),
        "sglang-smallest-tree": Baseline(sglang.CacheAware, {"miss_to_smallest_tree": True}),
        "smg-least-load": Baseline(sglang.SmgLeastLoad),
        "preble": Baseline(preble.Preble),
        "lmetric": Baseline(lmetric.LMetric),
        "dynamo": Baseline(dynamo.Dynamo),
        "llmd-blend": Baseline(llmd.Blend),
        "llmd-sticky-tokens": Baseline(llmd.Sticky),
        "llmd-sticky-requests": Baseline(llmd.Sticky, {"by_requests": True}),
        "aibrix-prefix-cache": Baseline(aibrix.PrefixCache),
        "kthena": Baseline(kthena.EqualWeights),
        "dualmap": _dualmap(Primary.SLO_AWARE, rebalances=True),
        "dualmap-no-rebalance": _dualmap(Primary.SLO_AWARE, rebalances=False),
        "dualmap-least-loaded": _dualmap(Primary.LEAST_LOADED, rebalances=False),
        "dualmap-cache-affinity": _dualmap(Primary.CACHE_AFFINITY, rebalances=False),
        "dualmap-min-ttft": _dualmap(Primary.MIN_TTFT, rebalances=False),
    }
)
"""DualMap's three other choices run without rebalancing, as in its evaluation of the choice."""


def baseline(name: str) -> Baseline:
    """Raises: InvalidScenario: naming those there are."""
    try:
        return BASELINES[name]
    except KeyError:
        known = ", ".join(sorted(BASELINES))
        raise InvalidScenario(f"no baseline {name!r}; known: {known}") from None
