"""The snapshot on disk: whole, or not there."""

from pathlib import Path

import pytest

from headway_api.snapshots import Item, PodEndpoint, PodState, snapshot
from headway_proto.v1alpha1.messages import Undecodable, decoded, encoded
from headway_router.discovery import disk

POD = PodEndpoint(
    uid="p", pool_uid="u", group="g", name="n", address="::1", port=8000, state=PodState.DRAINING
)
ITEM = Item(uid="u", namespace="ns", name="n", generation=3, content=b'{"a":1}')
HELD = Item(uid="v", namespace="ns", name="m", generation=1, content=None)
SNAPSHOT = snapshot([ITEM], [HELD], [POD])


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert disk.load(tmp_path) is None
    disk.save(SNAPSHOT, tmp_path)
    assert disk.load(tmp_path) == SNAPSHOT
    assert [path.name for path in tmp_path.iterdir()] == [disk.NAME]


def test_whatever_byte_has_changed_or_is_missing_it_is_not_taken(tmp_path: Path) -> None:
    disk.save(SNAPSHOT, tmp_path)
    path = tmp_path / disk.NAME
    content = path.read_bytes()
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(disk.Corrupt):
            disk.load(tmp_path)
        path.write_bytes(content[:i])
        with pytest.raises(disk.Corrupt):
            disk.load(tmp_path)


def test_a_message_that_is_not_whole_is_refused_with_its_reason() -> None:
    message = encoded(SNAPSHOT, server_id="a", sequence=1)
    assert decoded(message) == SNAPSHOT
    message.schema = 2
    with pytest.raises(Undecodable, match="schema 2") as future:
        decoded(message)
    assert future.value.reason == "UnknownSchema"
    for spoil in ("endpoints", "pools"):
        message = encoded(SNAPSHOT, server_id="a", sequence=1)
        message.ClearField(spoil)
        with pytest.raises(Undecodable) as changed:
            decoded(message)
        assert changed.value.reason == "HashMismatch"
    message = encoded(SNAPSHOT, server_id="a", sequence=1)
    message.pools[0].canonical_json = b"{}"
    with pytest.raises(Undecodable, match="ns/n"):
        decoded(message)
