"""The table of faults: what happens, which metric says so, and how it is brought about."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fault_rows import clients, engine_faults, router_faults
from fault_rows.rig import Report, Rig


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``bring_about`` returns when the fault is over and everything is as before."""

    fault: str
    happens: str
    says_so: str
    """Series of ``docs/metrics.md`` unless it is named as another's."""
    bring_about: Callable[[Rig], Awaitable[Report]]


ROWS = (
    Row(
        fault="a router is killed (SIGKILL), one pool",
        happens="Envoy serves the requests of its share by round robin until it leaves the dead"
        " router out; all are answered.",
        says_so="Envoy's `cluster.routers.health_check.failure`, `ext_proc.failure_mode_allowed`",
        bring_about=router_faults.one_of_a_single_pool_is_killed,
    ),
    Row(
        fault="a router is killed (SIGKILL), several pools",
        happens="Until Envoy leaves it out, requests of its share get an explicit 503 with"
        " Retry-After, as no pool can be told; those that were routed end as ever.",
        says_so="the same",
        bring_about=router_faults.one_of_several_pools_is_killed,
    ),
    Row(
        fault="routers are restarted one after the other",
        happens="Each says that it is not ready, routes on until Envoy has noticed, and ends with"
        " its last stream; all are answered.",
        says_so="`headway_streams_open` falls to 0; Envoy's `cluster.routers.membership_healthy`",
        bring_about=router_faults.a_rolling_restart,
    ),
    Row(
        fault="an engine is killed before the first byte of its answers",
        happens="Envoy repeats each of its requests once, on the second endpoint that the router"
        " named; all are answered.",
        says_so='`headway_endpoints{state="unreachable"}`, `headway_fallbacks_total`',
        bring_about=engine_faults.killed_before_the_first_byte,
    ),
    Row(
        fault="an engine is killed in the middle of streams",
        happens="Its own streams break off without the end that clients wait for, and no others.",
        says_so='`headway_endpoints{state="unreachable"}`; Envoy\'s'
        " `upstream_cx_destroy_with_active_rq`",
        bring_about=engine_faults.killed_in_the_middle_of_streams,
    ),
    Row(
        fault="an engine hangs",
        happens="Its requests wait for it, the others are answered; when it goes on, they are too.",
        says_so="`headway_leases_outstanding` stays above 0 with nothing else in flight",
        bring_about=engine_faults.hangs,
    ),
    Row(
        fault="all metrics endpoints are gone",
        happens="The router goes on by its own accounts: the pair of the rings, no scraped load;"
        " all are answered, by every engine.",
        says_so='`headway_endpoints_stale`, `headway_scrapes_total{outcome="error"}`',
        bring_about=engine_faults.all_metrics_are_gone,
    ),
    Row(
        fault="KV events are lost, and their engine is restarted",
        happens="What it had told is forgotten, and the mirror of what was sent there counts until"
        " its events join again; while it is down the other engine answers.",
        says_so='`headway_kv_resets_total{reason="gap"}`, then `{reason="restarted"}`',
        bring_about=engine_faults.kv_events_are_lost_and_the_engine_restarts,
    ),
    Row(
        fault="the wall clock jumps by an hour, and back",
        happens="Nothing: deadlines, holding and estimates count monotonic seconds.",
        says_so="none; in the decision log `unix_s` jumps and `at_s` does not",
        bring_about=router_faults.the_wall_clock_jumps,
    ),
    Row(
        fault="1,000 held requests are cancelled at once",
        happens="They leave the queues, no lease is left, and no engine finishes any of them.",
        says_so="`headway_held_requests` and `headway_leases_outstanding` fall to 0",
        bring_about=clients.a_thousand_held_requests_are_cancelled,
    ),
    Row(
        fault="an endpoint flaps, 1,000 times a minute",
        happens="It is taken out when a scrape is refused and comes back with the next; a request"
        " that is refused goes to the second endpoint; all are answered.",
        says_so='`headway_scrapes_total{outcome="refused"}`,'
        ' `headway_endpoints{state="unreachable"}`',
        bring_about=engine_faults.an_endpoint_flaps,
    ),
    Row(
        fault="a broken policy is applied",
        happens="Nothing: the last good configuration stays in force until the new one is valid.",
        says_so='`headway_config_problems`, `headway_config_reloads_total{outcome="rejected"}`',
        bring_about=router_faults.a_broken_policy_is_applied,
    ),
    Row(
        fault="clients send and read slowly",
        happens="A request is charged to an engine only when its whole body is here; slow readers"
        " get every token, and others do not wait for them.",
        says_so="`headway_streams_open` above `headway_leases_outstanding`",
        bring_about=clients.some_are_slow,
    ),
    Row(
        fault="an engine answers 503, busy",
        happens="Envoy repeats the request once, on the second endpoint; all are answered.",
        says_so="`headway_fallbacks_total`; the engine's `vllm:admission_rejections_total`",
        bring_about=engine_faults.busy,
    ),
)
