"""One run: traffic through router replicas to engines, until nobody is left or time is up."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from headway_core.facts import EndpointId, InferenceRequest
from headway_core.policy import Fleet
from headway_sim.content import Contents, SizeEstimate
from headway_sim.engine import EngineEvent, TokenEmitted
from headway_sim.errors import InvalidScenario
from headway_sim.fast_forward import FastEngine
from headway_sim.kernel import Kernel, ns
from headway_sim.pickers import Picker
from headway_sim.seeds import Substreams
from headway_sim.traffic import Issued, Traffic
from headway_sim.world.faults import Faults
from headway_sim.world.gateway import Gateway, Journey
from headway_sim.world.hosts import EngineBuilder, EngineSpec, Host
from headway_sim.world.kv_feed import KvFeed
from headway_sim.world.laws import Census
from headway_sim.world.membership import Membership
from headway_sim.world.records import RequestRecord, request_id
from headway_sim.world.replica import Replica
from headway_sim.world.scraping import Scraping
from headway_sim.world.setting import Crash, Drain, Join, RouterRestart, Setting, Straggler

MakePicker = Callable[[int, int], Picker]
"""(replica, how often it was started before) -> a picker that knows nothing yet."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came out."""

    records: tuple[RequestRecord, ...]
    end_ns: int
    """The last end of a request, or when time was up."""
    events: int
    peak_in_system: int


class World:
    """Built for one ``run``.

    Raises:
        InvalidScenario: an endpoint without an engine, or a fault about what there is not.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        engines: Mapping[EndpointId, EngineSpec],
        traffic: Traffic,
        make_picker: MakePicker,
        setting: Setting | None = None,
        model: str = "",
        build_engine: EngineBuilder | None = None,
    ) -> None:
        """``build_engine``: None for the fast engine, which tells of its cache if that is seen."""
        self.setting = setting = setting or Setting()
        _check(fleet, engines, setting)
        self._model = model
        self._traffic = traffic
        self._kernel = Kernel()
        self._streams = Substreams(setting.seed)
        observation = setting.observation
        if build_engine is None:
            build_engine = partial(FastEngine, tells_of_cache=observation.kv_events is not None)
        self._contents = Contents(SizeEstimate(observation.size_error, setting.seed))
        self._sampling = self._streams.stream("sampled-streams")
        self._census = Census()
        self._records: list[RequestRecord] = []
        self._coming: Iterator[Issued] = iter(())
        self._due = 0
        """Requests that are scheduled and have not arrived."""
        self.hosts = {
            endpoint_id: Host(endpoint_id, spec, build_engine, self._kernel, self._told)
            for endpoint_id, spec in engines.items()
        }
        self._gateway = Gateway(self._kernel, self.hosts, setting, self._contents, self._ended)
        self.replicas = [
            Replica(number, make_picker, self._kernel, self._gateway)
            for number in range(setting.replicas)
        ]
        self._scraping = Scraping(observation.scrapes, self._kernel, self._streams)
        self._feed: KvFeed | None = None
        if observation.kv_events is not None:
            self._feed = KvFeed(
                observation.kv_events,
                self._kernel,
                self._streams,
                self.replicas,
                self._gateway.journey,
            )
        joining = [fault.endpoint_id for fault in setting.faults if isinstance(fault, Join)]
        self._start(Membership(fleet, joining, self._kernel, setting.discovery_s), joining)

    def run(self, until_s: float | None = None) -> Run:
        """Raises: BrokenLaw: the run contradicts itself."""
        self._coming = self._traffic.first()
        self._schedule_next()
        if self._due == 0:
            self._scraping.stop()
        until_ns = None if until_s is None else ns(until_s)
        self._kernel.run(until_ns)
        ends = [r.ended_ns for r in self._records if r.ended_ns is not None]
        end_ns = max(ends, default=0) if until_ns is None else until_ns
        self._census.check(self._records, end_ns)
        return Run(tuple(self._records), end_ns, self._kernel.events, self._census.peak)

    def _start(self, membership: Membership, joining: list[EndpointId]) -> None:
        for host in self.hosts.values():
            if host.endpoint_id not in joining:
                host.start()
        membership.tell(self.replicas)
        for replica in self.replicas:
            replica.start()
            for host in self.hosts.values():
                self._scraping.start(replica, host)
        faults = Faults(
            self._kernel, self.hosts, self._gateway, membership, self.replicas, self._feed
        )
        for fault in self.setting.faults:
            faults.plan(fault)

    def _told(self, host: Host, event: EngineEvent) -> None:
        if isinstance(event, TokenEmitted) and event.index > 0:
            return  # Most events by far, and nobody's business.
        self._gateway.told(host, event)
        if self._feed is not None:
            self._feed.told(host, event)

    def _schedule_next(self) -> None:
        issued = next(self._coming, None)
        if issued is not None:
            self._schedule(issued, self._arrive_first)

    def _schedule(self, issued: Issued, arrive: Callable[[Issued], None]) -> None:
        self._due += 1
        self._kernel.at(max(ns(issued.at_s), self._kernel.now_ns), arrive, issued)

    def _arrive_first(self, issued: Issued) -> None:
        self._schedule_next()
        self._arrive(issued)

    def _arrive(self, issued: Issued) -> None:
        self._due -= 1
        number, request, now_ns = len(self._records), issued.request, self._kernel.now_ns
        replica = self.replicas[_bucket(request_id(number), len(self.replicas))]
        observation = self.setting.observation
        blocks, estimated = self._contents.router_blocks(request, observation.block_tokens)
        record = RequestRecord(
            number=number,
            arrived_ns=now_ns,
            prompt_tokens=request.prompt_tokens,
            estimated_tokens=estimated,
            output_tokens=request.output_tokens,
            session=request.session,
            replica=replica.number,
        )
        facts = InferenceRequest(
            request_id=record.request_id,
            requested_model=self._model,
            prompt_tokens=estimated,
            blocks=blocks,
            block_tokens=observation.block_tokens,
            session=request.session,
        )
        is_sampled = self._sampling.random() < observation.sampled_share
        self._records.append(record)
        self._census.enter(now_ns)
        self._gateway.admit(Journey(issued, facts, record, replica, is_sampled))

    def _ended(self, journey: Journey) -> None:
        self._census.leave(journey.record.fate, self._kernel.now_ns)
        following = self._traffic.after(journey.issued, self._kernel.now_s)
        if following is not None:
            self._schedule(following, self._arrive)
        if self._due == 0 and self._census.present == 0:
            self._scraping.stop()


def _bucket(name: str, buckets: int) -> int:
    """As a gateway hashes the request id, so that all streams of a request meet."""
    if buckets == 1:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % buckets


def _check(fleet: Fleet, engines: Mapping[EndpointId, EngineSpec], setting: Setting) -> None:
    declared = [e.endpoint_id for pool in fleet.pools for e in pool.endpoints]
    if missing := [e for e in declared if e not in engines]:
        raise InvalidScenario(f"no engine is given for {', '.join(missing)}")
    if unknown := [e for e in engines if e not in declared]:
        raise InvalidScenario(f"no pool declares {', '.join(unknown)}")
    for fault in setting.faults:
        match fault:
            case Crash() | Straggler() | Drain() | Join() if fault.endpoint_id not in engines:
                known = ", ".join(engines)
                raise InvalidScenario(
                    f"a fault is about the endpoint {fault.endpoint_id!r}; there are {known}"
                )
            case RouterRestart() if not 0 <= fault.replica < setting.replicas:
                raise InvalidScenario(
                    f"a fault is about router replica {fault.replica}; there are"
                    f" {setting.replicas}, counted from 0"
                )
