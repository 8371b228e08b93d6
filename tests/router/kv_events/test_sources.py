import json

import pytest

from headway_router.kv_events.sources import Source, Unavailable, source_of

ENGINE = "10.0.0.7:8000"


def answer(**fields: object) -> bytes:
    publisher: dict[str, object] = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": "tcp://*:5557",
        "replay_endpoint": None,
        "buffer_steps": 10000,
        "hwm": 100000,
        "max_queue_size": 100000,
        "topic": "",
    }
    return json.dumps({"0": publisher | fields}).encode()


@pytest.mark.parametrize(
    ("endpoint", "address", "is_bound_here"),
    [
        ("tcp://*:5557", "tcp://10.0.0.7:5557", False),
        ("tcp://[::]:5557", "tcp://10.0.0.7:5557", False),
        ("tcp://127.0.0.1:5557", "tcp://127.0.0.1:5557", True),
        ("tcp://10.1.1.1:5557", "tcp://10.1.1.1:5557", True),
        ("ipc:///run/kv", "ipc:///run/kv", False),
    ],
)
def test_who_binds(endpoint: str, address: str, is_bound_here: bool) -> None:
    expected = Source(address, is_bound_here, None, "")
    assert source_of(ENGINE, answer(endpoint=endpoint)) == expected


def test_the_replay_socket_is_always_dialled() -> None:
    found = source_of(ENGINE, answer(replay_endpoint="tcp://*:5558", topic="kv@a"))
    assert found == Source("tcp://10.0.0.7:5557", False, "tcp://10.0.0.7:5558", "kv@a")
    found = source_of(ENGINE, answer(replay_endpoint="tcp://127.0.0.1:5558"))
    assert found.replay_address == "tcp://127.0.0.1:5558"


def test_an_engine_at_an_ipv6_address_is_dialled_there() -> None:
    found = source_of("[fd00::7]:8000", answer())
    assert found.address == "tcp://[fd00::7]:5557"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"{}", "publishes no KV events"),
        (b"<html>", "JSON"),
        (b"[]", "object"),
        (answer(enable_kv_cache_events=False), "publishes no KV events"),
        (answer(publisher="null"), "over ZMQ"),
        (answer(endpoint="inproc://kv"), "another process"),
        (answer(endpoint="tcp://*"), "no port"),
        (json.dumps(dict.fromkeys("01", json.loads(answer())["0"])).encode(), "2 caches"),
    ],
)
def test_why_there_are_no_events(said: bytes, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        source_of(ENGINE, said)
