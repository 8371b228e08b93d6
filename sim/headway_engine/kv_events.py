"""The ZMQ publisher of KV-cache events, with vLLM's sockets, sequence numbers and replay.

A PUB socket sends ``[topic, sequence (8 bytes, big endian), payload]``, one batch per engine step
that changed the cache.  It binds where the endpoint has ``*`` or ``::``, or starts with ``ipc://``
or ``inproc://``, and connects otherwise (then the subscriber binds).  A ROUTER socket, always
bound, answers ``[b"", first wanted sequence]`` with every kept batch from there on and an end
marker.

Faults: batches can be delayed, or lost on the way (they still count and can be replayed).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import zmq
import zmq.asyncio

from headway_engine.errors import SettingsInvalid
from headway_engine.faults import Faults
from headway_engine.generation import Generation
from headway_engine.kv_wire import encode_batch, event_maps
from headway_engine.settings import KvEventsConfig
from headway_sim.engine.facts import EngineEvent

END_OF_REPLAY = (-1).to_bytes(8, "big", signed=True)
POLL_MS = 30_000
"""How often an idle replay socket looks up for nothing."""


def binds(endpoint: str) -> bool:
    """vLLM's rule for the PUB socket."""
    return "*" in endpoint or "::" in endpoint or endpoint.startswith(("ipc://", "inproc://"))


class KvEventPublisher:
    """An observer of the driver; use as a context manager, and run ``answer_replays``."""

    def __init__(
        self,
        config: KvEventsConfig,
        block_tokens: int,
        faults: Faults,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._block_tokens = block_tokens
        self._faults = faults
        self._clock = clock
        self._topic = config.topic.encode()
        self._next_sequence = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=config.buffer_steps)
        self._context = zmq.asyncio.Context()
        self._pub: zmq.Socket[bytes] = zmq.Context.shadow(self._context).socket(zmq.PUB)
        self._router = self._context.socket(zmq.ROUTER)

    def __enter__(self) -> "KvEventPublisher":
        self._pub.set_hwm(self._config.hwm)
        attach = self._pub.bind if binds(self._config.endpoint) else self._pub.connect
        try:
            attach(self._config.endpoint)
            if self._config.replay_endpoint is not None:
                self._router.bind(self._config.replay_endpoint)
        except zmq.ZMQError as error:
            self.__exit__()
            raise SettingsInvalid(
                f"--kv-events-config: cannot open {self._config.endpoint!r} and "
                f"{self._config.replay_endpoint!r}: {error}"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        # The context waits for this socket but does not know it: it belongs to a shadow.
        self._pub.close(linger=0)
        self._context.destroy(linger=0)

    def step_ended(self, events: Sequence[EngineEvent], owners: Mapping[str, Generation]) -> None:
        maps = event_maps(events, owners, self._block_tokens)
        if not maps:
            return
        sequence, payload = self._next_sequence, encode_batch(self._clock(), maps)
        self._next_sequence += 1
        self._kept.append((sequence, payload))
        if self._faults.loses_kv_batch():
            return
        if self._faults.kv_delay_s > 0:
            loop = asyncio.get_running_loop()
            loop.call_later(self._faults.kv_delay_s, self._send, sequence, payload)
        else:
            self._send(sequence, payload)

    async def answer_replays(self) -> None:
        if self._config.replay_endpoint is None:
            return
        while True:
            if await self._router.poll(POLL_MS):
                await self._replay(await self._router.recv_multipart())

    def _send(self, sequence: int, payload: bytes) -> None:
        if self._pub.closed:
            return
        try:
            self._pub.send_multipart(
                [self._topic, sequence.to_bytes(8, "big"), payload], zmq.NOBLOCK
            )
        except zmq.Again:
            # At the high-water mark vLLM's publisher drops batches too.
            return

    async def _replay(self, frames: list[bytes]) -> None:
        if len(frames) != 3 or len(frames[2]) != 8:
            return
        client, _, wanted = frames
        first = int.from_bytes(wanted, "big")
        for sequence, payload in list(self._kept):
            if sequence >= first:
                await self._router.send_multipart(
                    [client, b"", self._topic, sequence.to_bytes(8, "big"), payload]
                )
        await self._router.send_multipart([client, b"", b"", END_OF_REPLAY, b""])
