"""A picker around a rule: views kept from events, every request sent at once."""

from collections.abc import Callable, Sequence

from headway_core.events import Event
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import ShedReason
from headway_core.policy import Fleet, Pool
from headway_core.prefix.mirror import Mirror
from headway_sim.baselines.rule import Rule
from headway_sim.errors import InvalidScenario
from headway_sim.pickers import Answer, Refused, Sent
from headway_sim.views import Views, allowed


class RulePicker:
    """Routes one pool; raises `InvalidScenario` for a fleet of several."""

    def __init__(
        self, rule: Rule, *, sees_first_tokens: bool, make_mirror: Callable[[], Mirror] = Mirror
    ) -> None:
        self._rule = rule
        self._make_mirror = make_mirror
        self._sees_first_tokens = sees_first_tokens
        self._views: Views | None = None
        self._pool: Pool | None = None

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        self._pool = the_pool(fleet)
        if self._pool is None:
            return ()
        if self._views is None:
            self._views = Views(
                self._pool, sees_first_tokens=self._sees_first_tokens, mirror=self._make_mirror()
            )
        self._views.apply(self._pool)
        return ()

    def place(self, request: InferenceRequest, now: float) -> Answer:
        pool, views = self._pool, self._views
        if pool is None or views is None or not serves(pool, request):
            return Refused(request.request_id, str(ShedReason.UNKNOWN_MODEL))
        views.expire(now)
        among = allowed(views, request)
        if not among:
            return Refused(request.request_id, str(ShedReason.NO_ENDPOINTS))
        endpoint_id = self._rule.route(request, among, views, now)
        views.sent(request, endpoint_id, now)
        return Sent(request.request_id, endpoint_id, fallback(pool, views, endpoint_id))

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        if self._views is not None:
            self._views.expire(now)
            self._views.observe(event, now)
        return ()

    def tick(self, now: float) -> Sequence[Answer]:
        return ()

    def next_deadline(self) -> float | None:
        return None


def the_pool(fleet: Fleet) -> Pool | None:
    """None: the fleet is not known yet.  Raises: InvalidScenario: there are several pools."""
    if len(fleet.pools) > 1:
        names = ", ".join(pool.name for pool in fleet.pools)
        raise InvalidScenario(f"a baseline routes one pool, and there are {names}")
    return fleet.pools[0] if fleet.pools else None


def serves(pool: Pool, request: InferenceRequest) -> bool:
    return request.requested_model in ("", *pool.models)


def fallback(pool: Pool, views: Views, chosen: EndpointId) -> EndpointId | None:
    """Where the gateway may try again once: the other endpoint with the fewest requests."""
    if pool.policy.max_attempts < 2:
        return None
    return views.least_requests(other_than=chosen)
