"""Ways to the operator: one channel for each address of its name, with the certificates of now."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from pathlib import Path

import grpc

from headway_proto.v1alpha1.discovery_pb2_grpc import DiscoveryStub
from headway_proto.v1alpha1.messages import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 15.0
"""At the addresses and at the certificates."""
FILES = ("ca.crt", "tls.key", "tls.crt")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

Pems = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Way:
    """To one replica of the operator."""

    address: str
    channel: grpc.aio.Channel
    stub: DiscoveryStub


class Channels:
    """``target`` is host:port; ``tls`` the folder of certificate, key and CA, None: plain text."""

    def __init__(self, target: str, tls: Path | None) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._tls = tls
        self._pems: Pems | None = None
        self._ways: dict[str, Way] = {}
        self.problem = ""
        """Of the last look; empty: none."""

    def ways(self) -> list[Way]:
        return list(self._ways.values())

    async def look(self) -> None:
        """Resolve the name and read the files anew.  What cannot be read stays as it was."""
        self.problem = ""
        try:
            await self._read_files()
            addresses = await self._addresses()
        except OSError as error:
            self.problem = f"{self._host}: {error}"
            log.warning("operator.not_found", extra={"why": self.problem})
            return
        for address in self._ways.keys() - set(addresses):
            await self._ways.pop(address).channel.close()
        for address in addresses:
            if address not in self._ways:
                channel = self._channel(address)
                stub = DiscoveryStub(channel)  # type: ignore[no-untyped-call]  # generated
                self._ways[address] = Way(address, channel, stub)

    async def close(self) -> None:
        while self._ways:
            await self._ways.popitem()[1].channel.close()

    async def _read_files(self) -> None:
        if self._tls is None:
            return
        folder = self._tls
        ca, key, certificate = await asyncio.to_thread(
            lambda: [(folder / name).read_bytes() for name in FILES]
        )
        if (ca, key, certificate) != self._pems:
            self._pems = (ca, key, certificate)
            await self.close()

    async def _addresses(self) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        )
        hosts = sorted({str(place[0]) for *_, place in found})
        return [f"[{h}]:{self._port}" if ":" in h else f"{h}:{self._port}" for h in hosts]

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._pems is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        # The certificate is for the name, which stands for all of the addresses.
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", self._host))
        return grpc.aio.secure_channel(
            address, grpc.ssl_channel_credentials(*self._pems), options=options
        )
