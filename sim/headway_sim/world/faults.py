"""Makes the faults of a setting happen."""

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from headway_core.facts import EndpointId
from headway_sim.kernel import Kernel, ns
from headway_sim.world.gateway import Gateway
from headway_sim.world.hosts import Host
from headway_sim.world.kv_feed import KvFeed
from headway_sim.world.membership import Membership
from headway_sim.world.replica import Replica
from headway_sim.world.setting import Crash, Drain, Fault, Join, RouterRestart, Straggler


class Faults:
    def __init__(
        self,
        kernel: Kernel,
        hosts: Mapping[EndpointId, Host],
        gateway: Gateway,
        membership: Membership,
        replicas: Sequence[Replica],
        feed: KvFeed | None,
    ) -> None:
        self._kernel = kernel
        self._hosts = hosts
        self._gateway = gateway
        self._membership = membership
        self._replicas = replicas
        self._feed = feed

    def plan(self, fault: Fault) -> None:
        match fault:
            case Crash(endpoint_id=endpoint_id, at_s=at_s, down_s=down_s):
                self._at(at_s, lambda: self._crash(endpoint_id))
                if down_s is not None:
                    self._at(at_s + down_s, lambda: self._restart(endpoint_id))
            case Straggler(endpoint_id=endpoint_id, at_s=at_s, for_s=for_s, factor=factor):
                self._at(at_s, lambda: self._slow(endpoint_id, factor))
                self._at(at_s + for_s, lambda: self._slow(endpoint_id, 1.0))
            case Drain(endpoint_id=endpoint_id, at_s=at_s, grace_s=grace_s):
                self._at(at_s, lambda: self._membership.drain(endpoint_id))
                self._at(at_s + grace_s, lambda: self._terminate(endpoint_id))
            case Join(endpoint_id=endpoint_id, at_s=at_s, start_s=start_s):
                self._at(at_s + start_s, lambda: self._join(endpoint_id))
            case RouterRestart(replica=number, at_s=at_s, down_s=down_s):
                replica = self._replicas[number]
                self._at(at_s, replica.stop)
                self._at(at_s + down_s, replica.start)
            case _:
                assert_never(fault)

    def _at(self, time_s: float, act: Callable[[], None]) -> None:
        self._kernel.at(ns(time_s), lambda _: act())

    def _crash(self, endpoint_id: EndpointId) -> None:
        self._hosts[endpoint_id].stop()
        self._gateway.crashed(endpoint_id)

    def _restart(self, endpoint_id: EndpointId) -> None:
        host = self._hosts[endpoint_id]
        host.start()
        if self._feed is not None:
            self._feed.restarted(host)

    def _slow(self, endpoint_id: EndpointId, factor: float) -> None:
        self._hosts[endpoint_id].slow_down(factor)

    def _terminate(self, endpoint_id: EndpointId) -> None:
        """The end of its grace period: what is still in it is lost."""
        self._membership.remove(endpoint_id)
        self._crash(endpoint_id)

    def _join(self, endpoint_id: EndpointId) -> None:
        self._restart(endpoint_id)
        self._membership.add(endpoint_id)
