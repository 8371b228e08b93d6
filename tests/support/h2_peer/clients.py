"""Clients over sockets: python-hyper's h2, and one of bytes that costs little."""

import asyncio
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from edge import gateway
from edge.gateway import configured
from h2_peer import frames
from headway_router.extproc.messages import BodyMode

TIMEOUT_S = 60.0


def buffered(body: bytes = gateway.BODY) -> tuple[pb.ProcessingRequest, pb.ProcessingRequest]:
    return configured(gateway.headers(), BodyMode.BUFFERED), gateway.body(body)


class H2Client:
    """python-hyper's connection on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.has_settings = False
        self.data: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.trailers: dict[int, dict[bytes, bytes]] = {}

    async def begin(self, stream_id: int, *messages: pb.ProcessingRequest) -> None:
        self.h2.send_headers(stream_id, frames.request(x_headway_request_id=f"r{stream_id}"))
        for message in messages:
            content = frames.message(message.SerializeToString())
            for at in range(0, len(content), 16_384):
                self.h2.send_data(stream_id, content[at : at + 16_384])
        await self._flush()

    async def until(self, holds: Callable[[], bool]) -> None:
        await self._flush()
        async with asyncio.timeout(TIMEOUT_S):
            while not holds():
                data = await self._reader.read(65_536)
                assert data, "the server has closed"
                for event in self.h2.receive_data(data):
                    self._note(event)
                await self._flush()

    async def ended_stream(self, stream_id: int) -> None:
        await self.until(lambda: stream_id in self.ended)

    async def answered(self, stream_id: int, count: int = 2) -> None:
        await self.until(lambda: len(self.messages(stream_id)) == count)

    def messages(self, stream_id: int) -> list[pb.ProcessingResponse]:
        data, found = bytes(self.data.get(stream_id, b"")), []
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5])):
            found.append(pb.ProcessingResponse.FromString(data[5:end]))
            data = data[end:]
        return found

    async def _flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self.has_settings = True
            case h2.events.DataReceived():
                self.data.setdefault(event.stream_id, bytearray()).extend(event.data or b"")
                size = event.flow_controlled_length or 0
                self.h2.acknowledge_received_data(size, event.stream_id)
            case h2.events.TrailersReceived():
                self.trailers[event.stream_id] = {bytes(k): bytes(v) for k, v in event.headers}
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)


class Crowd:
    """Held requests of one connection, written as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._cancelled = 0

    async def begin(self, count: int) -> None:
        head, body = (frames.message(m.SerializeToString()) for m in buffered())
        self._writer.write(frames.hello(initial_window_size=2**20))
        for i in range(count):
            stream_id = 2 * i + 1
            sent = frames.headers(stream_id) + frames.data(stream_id, head)
            self._writer.write(sent + frames.data(stream_id, body))
        await self.seen()

    def cancel(self, count: int) -> None:
        ids = range(self._cancelled, self._cancelled + count)
        self._writer.write(b"".join(frames.rst_stream(2 * i + 1) for i in ids))
        self._cancelled += count

    async def seen(self) -> None:
        """The server has read all, as it has answered a ping behind it."""
        self._writer.write(frames.frame(frames.PING, 0, 0, b"all-sent"))
        await self._writer.drain()
        kind = -1
        async with asyncio.timeout(TIMEOUT_S):
            while kind != frames.PING:
                head = await self._reader.readexactly(9)
                await self._reader.readexactly(int.from_bytes(head[:3]))
                kind = head[3]
