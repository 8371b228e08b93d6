"""Which endpoints a request may choose from, and what each is predicted to cost.

O(candidates), never O(endpoints), unless the policy asks for all or the gateway names a subset.
"""

from collections.abc import Sequence

from headway_core.choice import Prospect
from headway_core.estimate.latency import EndpointLatency
from headway_core.estimate.work import prefill_work
from headway_core.facts import EndpointId, InferenceRequest, Role
from headway_core.ledger import Load
from headway_core.outcomes import Candidate
from headway_core.policy import CandidateSet
from headway_core.pool_state import PoolState
from headway_core.tracking import Tracked
from headway_core.values import value

HOLDERS = 8
"""Of the endpoints with the longest hit so many are compared by backlog."""
FRESH_TRIES = 8
"""How many of the least loaded endpoints are asked for a fresh view before it is given up."""
SUBSET_SCAN = 64
"""A gateway's subset up to this size is looked at as a whole."""


@value
class Choices:
    """Who may be chosen; ``ids`` is empty if nobody may serve."""

    ids: Sequence[EndpointId]
    pair: Sequence[EndpointId] = ()
    """Those that the rings name."""
    key_blocks: int = 0
    """How much of the prompt was hashed for that; a hit below it is shared by too many to count."""
    longest_hit_blocks: int | None = None
    """The longest predicted hit in the pool; None: not looked up yet."""


def choices(state: PoolState, request: InferenceRequest, now: float) -> Choices:
    policy, serving = state.pool.policy, state.endpoints.serving
    allowed = serving
    if request.allowed_endpoints is not None and not serving <= request.allowed_endpoints:
        allowed = serving & request.allowed_endpoints
    if not allowed:
        return Choices(())
    if not state.has_prefix(request):
        return Choices(_balanced(state, allowed, serving))
    ring = state.endpoints.ring(Role.BOTH)
    if ring is None:
        return Choices(())
    depth = state.ladder.depth(request.blocks, request.block_tokens)
    pair = ring.pair(request.blocks[depth - 1], None if len(allowed) == len(ring) else allowed)
    longest = state.mirror.longest_run(request.blocks)
    if policy.candidates is CandidateSet.ALL:
        return Choices((*pair, *sorted(allowed.difference(pair))), pair, depth, longest)
    found = list(pair)
    if policy.candidates is CandidateSet.PAIR_PLUS and state.endpoints.any_fresh(
        now, policy.stale_after_s
    ):
        deepest = request.blocks[longest - 1] if longest >= depth else None
        found += _extras(state, deepest, allowed, now)
    return Choices(tuple(dict.fromkeys(found)), pair, depth, longest)


def _balanced(
    state: PoolState, allowed: frozenset[EndpointId], serving: frozenset[EndpointId]
) -> list[EndpointId]:
    """Per kind of engine the one with the fewest requests and the one with the least backlog."""
    is_small_subset = allowed is not serving and len(allowed) <= SUBSET_SCAN
    if is_small_subset or state.pool.policy.candidates is CandidateSet.ALL:
        return sorted(allowed)
    admit = None if allowed is serving else allowed.__contains__
    found = state.by_requests.least(1, admit)
    found += state.by_backlog.least(1, admit)
    return list(dict.fromkeys(found))


def _extras(
    state: PoolState, deepest: int | None, allowed: frozenset[EndpointId], now: float
) -> list[EndpointId]:
    """The least backlog of each kind, and the longest predicted hit, where the view is fresh.

    ``deepest``: the last block of that hit; None: it is too short to count.
    """
    records = state.endpoints.records
    fresh_since = now - state.pool.policy.stale_after_s

    def is_fresh(endpoint_id: EndpointId) -> bool:
        scraped = records[endpoint_id].scraped
        return scraped is not None and scraped > fresh_since and endpoint_id in allowed

    found = state.by_backlog.least(1, is_fresh, tries=FRESH_TRIES)
    if deepest is not None:
        fresh = [e for e in state.mirror.holders(deepest, HOLDERS) if is_fresh(e)]
        if fresh:
            found.append(min(fresh, key=state.by_backlog.backlog))
    return found


def predicted_hit_tokens(
    state: PoolState, request: InferenceRequest, endpoint_id: EndpointId
) -> int:
    """Of a request with a prefix; never all of it, as the last token is always computed."""
    return _tokens(request, state.mirror.hit_blocks(endpoint_id, request.blocks))


def _tokens(request: InferenceRequest, hit_blocks: int) -> int:
    return min(hit_blocks * request.block_tokens, max(0, request.prompt_tokens - 1))


def _unprefilled_s(load: Load, law: EndpointLatency, now: float) -> float:
    """What ``PoolState.engine_work_ahead`` takes, without building it: seconds are linear in work.

    ``load.unprefilled`` is not empty.
    """
    first_s = law.work_s(next(iter(load.unprefilled.values())))
    return max(0.0, law.work_s(load.work) - min(first_s, now - load.progress_since))


def assess(state: PoolState, tracked: Tracked, among: Choices, now: float) -> list[Prospect]:
    """Predict each of the candidates for a request that is nowhere yet."""
    request, left_s = tracked.request, tracked.ttft_left_s(now)
    prompt_tokens = request.prompt_tokens
    blocks = request.blocks if state.has_prefix(request) else ()
    order = state.pool.policy.flow_control.order
    cold = prefill_work(prompt_tokens, 0)
    longest = among.longest_hit_blocks
    if longest is None:
        longest = state.mirror.longest_run(blocks)
    records, laws = state.endpoints.records, state.latency.endpoints
    loads, queues = state.ledger.loads, state.queues
    prospects = []
    for endpoint_id in among.ids:
        record, law = records[endpoint_id], laws[endpoint_id]
        load, held = loads[endpoint_id], queues[endpoint_id]
        work, hit_tokens, is_own = cold, 0, True
        if longest and (hit_blocks := state.mirror.hit_blocks(endpoint_id, blocks, longest)):
            hit_tokens = _tokens(request, hit_blocks)
            is_own = hit_blocks >= among.key_blocks
            work = prefill_work(prompt_tokens, hit_tokens)
        queue_s = engine_s = foreign_s = 0.0
        waiting = held.size
        if waiting:
            queue_s = law.work_s(held.ahead(order, tracked.priority, work.tokens))
        if load.unprefilled:
            engine_s = _unprefilled_s(load, law, now)
        if record.foreign_waiting:
            foreign_s = law.work_s(state.foreign_work(record, now))
        prefill_s = law.prefill_s(work)
        ttft_s = queue_s + engine_s + foreign_s + prefill_s
        seconds = {"queue": queue_s, "engine": engine_s, "foreign": foreign_s, "prefill": prefill_s}
        probability = None if left_s is None else law.probability_within(ttft_s, left_s)
        prospects.append(
            Prospect(
                candidate=Candidate(endpoint_id, seconds, ttft_s, hit_tokens, probability),
                work=work,
                own_hit_tokens=hit_tokens if is_own else 0,
                shared_hit_s=0.0 if is_own else law.prefill_s(cold) - prefill_s,
                is_paired=endpoint_id in among.pair,
                last_used=record.last_used,
                requests_per_weight=(load.leases + waiting + 1) / record.endpoint.weight,
            )
        )
    return prospects
