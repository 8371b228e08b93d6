"""The whole edge around a real core, on a clock that the test moves."""

from collections.abc import Callable, Sequence
from random import Random

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headway_core.facts import Capacity, Endpoint
from headway_core.policy import Fleet, FlowControl, Policy, Pool
from headway_core.router import Router
from headway_router.dispatch import Dispatcher
from headway_router.extproc.service import Exchange, ExternalProcessor
from headway_router.extproc.session import SessionOptions
from headway_router.metrics import Metrics
from headway_router.openai.intake import MAX_BODY_BYTES, Intake
from headway_router.openai.ratios import TokenRatios
from headway_router.sampling import Sampling

ADDRESSES = ("10.0.0.1:8000", "10.0.0.2:8000")


def a_pool(
    name: str = "default/m",
    model: str = "m",
    *,
    addresses: Sequence[str] = ADDRESSES,
    aliases: Sequence[str] = (),
    adapters: Sequence[str] = (),
    policy: Policy | None = None,
    prefill_tokens_per_s: float = 10_000.0,
) -> Pool:
    return Pool(
        name=name,
        model=model,
        aliases=tuple(aliases),
        adapters=tuple(adapters),
        endpoints=tuple(
            Endpoint(
                endpoint_id=address,
                name=address,
                capacity=Capacity(prefill_tokens_per_s=prefill_tokens_per_s),
            )
            for address in addresses
        ),
        policy=policy or Policy(flow_control=FlowControl(enabled=False)),
    )


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Edge:
    """Everything of the router that a request passes, without a socket."""

    def __init__(
        self,
        *pools: Pool,
        max_body_bytes: int = MAX_BODY_BYTES,
        single_destination: bool = False,
        seed: int = 0,
        sampled_streams: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``clock``: of the event loop, where there is one; else one that stands still."""
        self.clock = ManualClock()
        self.core = Router(Random(seed))
        self.metrics = Metrics()
        self.ratios = TokenRatios()
        self.dispatcher = Dispatcher(self.core, self.metrics, clock or self.clock)
        self.intake = Intake(
            lambda: self.dispatcher.catalogue,
            self.ratios,
            self.metrics,
            max_body_bytes=max_body_bytes,
        )
        self.processor = ExternalProcessor(
            self.dispatcher,
            self.intake,
            self.metrics,
            SessionOptions(single_destination=single_destination),
            sampling=Sampling(
                self.dispatcher, self.ratios, self.metrics, clock or self.clock, sampled_streams
            ),
        )
        self.dispatcher.apply(Fleet(pools=pools or (a_pool(),)))

    def stream(self, request_id: str = "") -> "GatewayStream":
        return GatewayStream(self, request_id)

    def count(self, series: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(series, labels) or 0.0

    @property
    def is_idle(self) -> bool:
        return not (self.core.leases_outstanding or self.core.held or self.count(OPEN_STREAMS))


OPEN_STREAMS = "headway_streams_open"


class GatewayStream:
    """One stream as a gateway sees it: messages in, answers out, and answers that come later."""

    def __init__(self, edge: Edge, request_id: str) -> None:
        metadata = {"x-headway-request-id": request_id} if request_id else {}
        self.late: list[pb.ProcessingResponse] = []
        self.exchange: Exchange = edge.processor.open(metadata, self._deliver)

    def _deliver(self, messages: Sequence[bytes]) -> None:
        self.late += map(pb.ProcessingResponse.FromString, messages)

    def send(self, message: pb.ProcessingRequest) -> list[pb.ProcessingResponse]:
        answers = self.exchange.receive(message.SerializeToString())
        return [pb.ProcessingResponse.FromString(a) for a in answers]

    def close(self) -> None:
        self.exchange.close()
