"""What a compilation makes of every resource."""

from dataclasses import dataclass
from enum import StrEnum

from headway_api.snapshots import Item, Snapshot
from headway_operator.names import Manifest


class Verdict(StrEnum):
    """Reasons of a target's ``Accepted`` condition."""

    ACCEPTED = "Accepted"
    CONFLICTED = "Conflicted"
    INVALID = "Invalid"
    TARGET_NOT_FOUND = "TargetNotFound"


@dataclass(frozen=True, slots=True)
class Target:
    """What became of one entry of ``targetRefs``."""

    name: str
    verdict: Verdict
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one resource."""

    body: Manifest
    item: Item | None
    """As routers get it.  None: they do not."""
    problem: str = ""
    """Of its latest generation; the item is an older one's, or held."""
    targets: tuple[Target, ...] = ()
    effective_hash: str = ""
    """Of a policy that is in force."""

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def key(self) -> str:
        return f"{self.body['metadata']['namespace']}/{self.body['metadata']['name']}"

    @property
    def generation(self) -> int:
        return int(self.body["metadata"]["generation"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    snapshot: Snapshot
    pools: tuple[Outcome, ...] = ()
    policies: tuple[Outcome, ...] = ()

    def policy_of(self, pool: str) -> list[Outcome]:
        """Policies that name the pool (``namespace/name``), the one that has it first."""
        naming = [
            (target.verdict is not Verdict.ACCEPTED, i, policy)
            for i, policy in enumerate(self.policies)
            for target in policy.targets
            if f"{policy.body['metadata']['namespace']}/{target.name}" == pool
        ]
        return [policy for *_, policy in sorted(naming, key=lambda entry: entry[:2])]
