"""Who takes part: a policy, and what is changed about it or about what it sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    name: str
    policy: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Of a RoutingPolicy; only the production core obeys it."""
    observation: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)

    def seeing(self, suffix: str, observation: Mapping[str, Any]) -> "Arm":
        """The same policy that sees something else."""
        return Arm(
            name=f"{self.name}, {suffix}",
            policy=self.policy,
            spec=self.spec,
            observation={**self.observation, **observation},
            parameters=self.parameters,
        )


def _headway(name: str, **spec: Any) -> Arm:
    return Arm(name=name, policy="headway", spec=spec)


HEADWAY = _headway("headway")
HEADWAY_PAIR = _headway("headway: pair", strategy={"candidates": "Pair"})
HEADWAY_ALL = _headway("headway: all", strategy={"candidates": "All"})
ORDERS = tuple(
    _headway(f"headway: {order}", flowControl={"order": order})
    for order in ("HitFirst", "FCFS", "SRPT", "EDF")
)
NO_HOLD = _headway("headway: no held queue", flowControl={"mode": "Disabled"})
DUALMAP = Arm(name="dualmap", policy="dualmap")
MIN_TTFT = Arm(name="min-ttft", policy="min-ttft")

BASELINES = (
    DUALMAP,
    MIN_TTFT,
    *(
        Arm(name=policy, policy=policy)
        for policy in (
            "sglang",
            "lmetric",
            "preble",
            "chwbl",
            "dynamo",
            "llmd-blend",
            "llmd-sticky-tokens",
            "aibrix-prefix-cache",
            "kthena",
            "least-pending-tokens",
            "least-requests",
            "round-robin",
            "max-cached-prefix",
        )
    ),
)
DUALMAP_ABLATIONS = (
    *(
        Arm(name=policy, policy=policy)
        for policy in (
            "dualmap-no-rebalance",
            "dualmap-least-loaded",
            "dualmap-cache-affinity",
            "dualmap-min-ttft",
        )
    ),
    Arm(name="dualmap, T = 1.0 SLO", policy="dualmap", parameters={"slo_share": 1.0}),
)

FIRST_TOKENS = {
    "first tokens of 10 %": {"firstTokens": "Sampled", "sampledShare": 0.1},
    "no first tokens": {"firstTokens": "Absent", "sampledShare": 0.0},
}
VIEW_AGES_S = (5, 30, 120)


def aged(arm: Arm, seconds: int) -> Arm:
    """Its view of caches is a copy so old at most, and metrics are scraped as seldom."""
    return arm.seeing(
        f"views of {seconds} s",
        {"cacheViewSeconds": seconds, "scrape": {"intervalSeconds": seconds}},
    )
