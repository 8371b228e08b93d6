"""Where an engine publishes its KV events, from what its ``/kv_event_sources`` says.

vLLM binds where its endpoint has ``*`` or ``::``, or starts with ``ipc://`` or ``inproc://``, and
connects otherwise: then the subscriber binds.  The replay socket is always bound by the engine.
"""

from dataclasses import dataclass

import msgspec

from headway_core.facts import EndpointId

PATH = "/kv_event_sources"
_TRANSPORTS = ("tcp://", "ipc://")
_ANY_HOST = frozenset({"*", "[::]", "0.0.0.0", ""})


class Unavailable(Exception):
    """No events can be had from an engine; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Addresses as this side opens them."""

    address: str
    is_bound_here: bool
    replay_address: str | None
    """None: lost batches cannot be replayed."""
    topic: str


class _Publisher(msgspec.Struct):
    enable_kv_cache_events: bool
    publisher: str | None = None
    endpoint: str | None = None
    replay_endpoint: str | None = None
    topic: str = ""


_decoder = msgspec.json.Decoder(dict[str, _Publisher])


def source_of(endpoint_id: EndpointId, answer: bytes) -> Source:
    """``answer``: the effective publisher by data-parallel rank.

    Raises: Unavailable.
    """
    try:
        publishers = list(_decoder.decode(answer).values())
    except msgspec.DecodeError as error:
        raise Unavailable(f"{PATH}: {error}") from error
    if not publishers:
        raise Unavailable("it publishes no KV events")
    if len(publishers) > 1:
        raise Unavailable(f"it has {len(publishers)} caches, one per data-parallel rank")
    (found,) = publishers
    if not found.enable_kv_cache_events or found.publisher != "zmq" or not found.endpoint:
        raise Unavailable("it publishes no KV events over ZMQ")
    host = endpoint_id.rpartition(":")[0]
    return Source(
        address=_dialled(found.endpoint, host),
        is_bound_here=not _is_bound_by_engine(found.endpoint),
        replay_address=_dialled(found.replay_endpoint, host) if found.replay_endpoint else None,
        topic=found.topic,
    )


def _is_bound_by_engine(endpoint: str) -> bool:
    return "*" in endpoint or "::" in endpoint or endpoint.startswith(("ipc://", "inproc://"))


def _dialled(endpoint: str, host: str) -> str:
    """The same, with the engine's own address in place of "any"."""
    if not endpoint.startswith(_TRANSPORTS):
        raise Unavailable(f"{endpoint} cannot be reached from another process")
    if not endpoint.startswith("tcp://"):
        return endpoint
    named, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not port.isdecimal():
        raise Unavailable(f"{endpoint} has no port")
    return f"tcp://{host if named in _ANY_HOST else named}:{port}"
