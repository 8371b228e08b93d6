"""Snapshots as messages and back; what does not arrive whole is not taken."""

from headway_api.snapshots import SCHEMA, Item, PodEndpoint, PodState, Snapshot
from headway_proto.v1alpha1 import discovery_pb2 as pb

MAX_MESSAGE_BYTES = 64 * 2**20


class Undecodable(Exception):
    """``reason`` is one word for programs, as in ``Ack.reason``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def encoded(snapshot: Snapshot, *, server_id: str, sequence: int) -> pb.Snapshot:
    return pb.Snapshot(
        schema=SCHEMA,
        server_id=server_id,
        sequence=sequence,
        content_hash=snapshot.content_hash,
        pools=[_encoded_item(item) for item in snapshot.pools],
        policies=[_encoded_item(item) for item in snapshot.policies],
        endpoints=[
            pb.Endpoint(
                uid=endpoint.uid,
                pool_uid=endpoint.pool_uid,
                group=endpoint.group,
                name=endpoint.name,
                address=endpoint.address,
                ports=[endpoint.port],
                state=pb.Endpoint.State.Value(endpoint.state),
            )
            for endpoint in snapshot.endpoints
        ],
    )


def decoded(message: pb.Snapshot) -> Snapshot:
    """Raises: Undecodable."""
    if message.schema > SCHEMA:
        what = f"schema {message.schema} is newer than {SCHEMA}, which this router reads"
        raise Undecodable("UnknownSchema", what)
    snapshot = Snapshot(
        pools=tuple(_decoded_item(item) for item in message.pools),
        policies=tuple(_decoded_item(item) for item in message.policies),
        endpoints=tuple(_decoded_endpoint(endpoint) for endpoint in message.endpoints),
    )
    if snapshot.content_hash != message.content_hash:
        what = f"its content is {snapshot.content_hash}, not {message.content_hash} as it says"
        raise Undecodable("HashMismatch", what)
    return snapshot


def _encoded_item(item: Item) -> pb.Item:
    return pb.Item(
        uid=item.uid,
        namespace=item.namespace,
        name=item.name,
        generation=item.generation,
        state=pb.Item.HELD if item.content is None else pb.Item.COMPILED,
        hash=item.hash,
        canonical_json=item.content or b"",
    )


def _decoded_item(item: pb.Item) -> Item:
    if item.state not in (pb.Item.COMPILED, pb.Item.HELD):
        raise Undecodable("UnknownState", f"{item.name}: item state {item.state}")
    found = Item(
        uid=item.uid,
        namespace=item.namespace,
        name=item.name,
        generation=item.generation,
        content=None if item.state == pb.Item.HELD else item.canonical_json,
    )
    if found.hash != item.hash:
        raise Undecodable("HashMismatch", f"{found.key}: its content is not what its hash says")
    return found


def _decoded_endpoint(endpoint: pb.Endpoint) -> PodEndpoint:
    try:
        state = PodState(pb.Endpoint.State.Name(endpoint.state))
        [port] = endpoint.ports
    except ValueError as error:
        raise Undecodable("BadEndpoint", f"{endpoint.name}: {error}") from error
    return PodEndpoint(
        uid=endpoint.uid,
        pool_uid=endpoint.pool_uid,
        group=endpoint.group,
        name=endpoint.name,
        address=endpoint.address,
        port=port,
        state=state,
    )
