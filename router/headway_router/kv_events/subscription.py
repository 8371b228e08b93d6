"""Reads one engine's KV events over ZMQ, for as long as the router follows that engine."""

import asyncio
import logging
from contextlib import suppress

import aiohttp
import zmq
import zmq.asyncio

from headway_core.facts import EndpointId
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.kv_events.sources import PATH, Source, Unavailable, source_of
from headway_router.kv_events.stream import EventStream

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Until an engine without events is asked again where it publishes."""
SETTLE_S = 1.0
"""After so long both sides have found each other; what was published before must be replayed."""
RECHECK_S = 10.0
"""How often an engine is asked whether it publishes elsewhere (after a restart), and for batches
that were lost without another after them to tell."""
REPLAY_TIMEOUT_S = 10.0
"""Between two batches of a replay."""
MAX_MESSAGE_BYTES = 16 * 2**20
"""A step of 16,384 tokens takes 0.1 MB."""
MAX_QUEUED_BATCHES = 10_000
"""More are dropped, and replayed later."""
_YIELD_EVERY = 16
"""Reading what has arrived already does not let other tasks run."""
_END_OF_REPLAY = (-1).to_bytes(8, "big", signed=True)


class _NoAnswer(Unavailable):
    """The engine cannot be asked."""


class Subscription:
    def __init__(
        self,
        endpoint_id: EndpointId,
        stream: EventStream,
        context: zmq.asyncio.Context,
        http: aiohttp.ClientSession,
    ) -> None:
        self._endpoint_id = endpoint_id
        self._stream = stream
        self._context = context
        self._http = http
        self._unavailable: str | None = "not asked yet"
        self._taken = 0

    @property
    def knowledge(self) -> CacheKnowledge:
        return CacheKnowledge.UNAVAILABLE if self._unavailable else self._stream.knowledge

    def debug(self) -> dict[str, object]:
        """For a debug page: JSON's types only."""
        return {
            "knowledge": self.knowledge,
            "unavailable": self._unavailable,
            "engine_blocks": self._stream.engine_blocks,
        }

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        while True:
            try:
                source = await self._discover()
                await self._follow(source)
            except Unavailable as reason:
                self._note(str(reason))
                await asyncio.sleep(RETRY_S)
            finally:
                self._stream.closed()

    async def _discover(self) -> Source:
        try:
            async with self._http.get(
                f"http://{self._endpoint_id}{PATH}", allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise Unavailable(f"{PATH} answers with status {response.status}")
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _NoAnswer(f"{PATH}: {error or type(error).__name__}") from error
        return source_of(self._endpoint_id, answer)

    async def _follow(self, source: Source) -> None:
        """Returns: it publishes elsewhere now.  Raises: Unavailable."""
        with self._socket(zmq.SUB) as subscriber:
            subscriber.rcvhwm = MAX_QUEUED_BATCHES
            subscriber.subscribe(source.topic)
            _open(subscriber, source.address, is_bound_here=source.is_bound_here)
            self._note(None)
            listen_s = SETTLE_S
            while True:
                await self._replay(source)
                await self._receive(subscriber, source, listen_s)
                listen_s = RECHECK_S
                with suppress(_NoAnswer):  # Maybe it restarts; events will tell.
                    if await self._discover() != source:
                        return

    async def _receive(
        self, subscriber: zmq.asyncio.Socket, source: Source, listen_s: float
    ) -> None:
        """Take what comes, for so long."""
        now = asyncio.get_running_loop().time
        until = now() + listen_s
        while (left_s := until - now()) > 0:
            # A time-out around the reading itself could lose what was just read.
            if not await subscriber.poll(left_s * 1000):
                return
            frames = await subscriber.recv_multipart()
            await self._let_others_run()
            if len(frames) != 3 or len(frames[1]) != 8:
                continue
            number, payload = int.from_bytes(frames[1], "big"), frames[2]
            if self._stream.live(number, payload):
                continue
            await self._replay(source)
            if not self._stream.live(number, payload):
                self._stream.missed(number)
                self._stream.live(number, payload)

    async def _replay(self, source: Source) -> None:
        """Read all that the engine keeps and is not here; twice, if it turns out to have
        restarted."""
        if source.replay_address is None:
            return
        for _ in range(2):
            with self._socket(zmq.DEALER) as dealer:
                _open(dealer, source.replay_address, is_bound_here=False)
                try:
                    if await self._replay_once(dealer):
                        return
                except TimeoutError:
                    log.warning("kv_events.no_replay", extra={"endpoint": self._endpoint_id})
                    return

    async def _replay_once(self, dealer: zmq.asyncio.Socket) -> bool:
        """Returns: False: ask again.  Raises: TimeoutError: it does not answer."""
        await dealer.send_multipart([b"", self._stream.replay_from().to_bytes(8, "big")])
        while True:
            async with asyncio.timeout(REPLAY_TIMEOUT_S):
                frames = await dealer.recv_multipart()
            await self._let_others_run()
            if len(frames) != 4 or len(frames[2]) != 8:
                continue
            if frames[2] == _END_OF_REPLAY:
                self._stream.replay_ended()
                return True
            if not self._stream.replayed(int.from_bytes(frames[2], "big"), frames[3]):
                return False

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.ipv6 = True
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        return socket

    async def _let_others_run(self) -> None:
        self._taken += 1
        if self._taken % _YIELD_EVERY == 0:
            await asyncio.sleep(0)

    def _note(self, reason: str | None) -> None:
        if reason != self._unavailable:
            extra = {"endpoint": self._endpoint_id, "reason": reason}
            log.info("kv_events.unavailable" if reason else "kv_events.subscribed", extra=extra)
        self._unavailable = reason


def _open(socket: zmq.asyncio.Socket, address: str, *, is_bound_here: bool) -> None:
    """Raises: Unavailable."""
    try:
        if is_bound_here:
            socket.bind(address)
        else:
            socket.connect(address)
    except zmq.ZMQError as error:
        verb = "bind" if is_bound_here else "connect to"
        raise Unavailable(f"cannot {verb} {address}: {error}") from error
