"""What is learned from the responses that are read, and which are: at a tap, and without one."""

import orjson
import pytest
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from edge import gateway
from edge.gateway import configured
from edge.harness import Edge, GatewayStream, a_pool
from headway_core.policy import Fleet
from headway_core.sampling import LEAST_GAP_S, SampleBudget
from headway_router.extproc.messages import BodyMode

POOL = "default/m"
TEXT = "words " * 2000
PROMPT = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": TEXT}]})
"""12 kB: 3,000 tokens at the start."""


def an_event(**fields: object) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def usage_event(
    prompt_tokens: int, cached_tokens: int | None = None, output_tokens: int = 7
) -> bytes:
    usage: dict[str, object] = {"prompt_tokens": prompt_tokens, "completion_tokens": output_tokens}
    if cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    return an_event(choices=[], usage=usage)


TOKEN = an_event(choices=[{"delta": {"content": "hi"}}])
DONE = b"data: [DONE]\n\n"


def an_edge(streams: int = 2) -> Edge:
    return Edge(sampled_streams=streams)


def routed(edge: Edge, request_id: str, *, response: BodyMode = BodyMode.NONE) -> GatewayStream:
    stream = edge.stream(request_id)
    stream.send(configured(gateway.headers(), BodyMode.BUFFERED, response))
    stream.send(gateway.body(PROMPT))
    return stream


def tapped(edge: Edge, request_id: str, *chunks: bytes, ends: bool = True) -> GatewayStream:
    """The tap of a request, with these chunks."""
    tap = edge.stream(request_id)
    tap.send(gateway.tap_chunk(chunks[0]))
    for chunk in chunks[1:]:
        tap.send(gateway.response_body(chunk))
    if ends:
        tap.send(gateway.response_body(b"", end_of_stream=True))
    return tap


def sampled(edge: Edge, outcome: str) -> float:
    return edge.count("headway_sampled_responses_total", pool=POOL, outcome=outcome)


def mode_of(answer: pb.ProcessingResponse) -> tuple[int, int, int] | None:
    """Request body, response headers, response body."""
    if not answer.HasField("mode_override"):
        return None
    mode = answer.mode_override
    return mode.request_body_mode, mode.response_header_mode, mode.response_body_mode


# -- at the tap ------------------------------------------------------------------------------


def test_a_taps_stream_stays_open_and_teaches_what_the_prompt_was() -> None:
    edge = an_edge()
    stream = routed(edge, "r")
    tap = tapped(edge, "r", TOKEN, TOKEN, ends=False)
    assert not tap.exchange.is_over
    tap.send(gateway.response_body(usage_event(6000, 0) + DONE))
    tap.send(gateway.response_body(b"", end_of_stream=True))
    assert tap.exchange.is_over
    tap.close()
    stream.close()
    assert sampled(edge, "usage") == 1
    tokens = "headway_sampled_prompt_tokens_total"
    assert edge.count(tokens, pool=POOL, source="predicted") == pytest.approx(3000, rel=0.01)
    assert edge.count(tokens, pool=POOL, source="reported") == 6000
    assert edge.ratios.tokens_per_byte("m") > 0.3
    assert edge.is_idle


def test_predicted_and_reported_hits_are_told_side_by_side() -> None:
    edge = an_edge()
    for number, cached in enumerate([0, 1500]):
        edge.clock.now_s += 1
        stream = routed(edge, f"r{number}")
        tapped(edge, f"r{number}", TOKEN, usage_event(3000, cached), DONE).close()
        stream.close()
    hits = "headway_sampled_hit_tokens_total"
    assert edge.count(hits, pool=POOL, source="reported") == 1500
    predicted = edge.count(hits, pool=POOL, source="predicted")
    assert 0 < predicted == edge.count("headway_predicted_hit_tokens_total", pool=POOL)


def test_inter_token_times_are_those_between_chunks_of_the_sampled() -> None:
    edge = an_edge()
    routed(edge, "r")
    tap = tapped(edge, "r", TOKEN, ends=False)
    edge.clock.now_s += 0.25
    tap.send(gateway.response_body(TOKEN[:20]))
    edge.clock.now_s += 0.25
    tap.send(gateway.response_body(TOKEN[20:] + TOKEN))
    assert edge.count("headway_inter_token_seconds_count", pool=POOL) == 2
    assert edge.count("headway_inter_token_seconds_sum", pool=POOL) == pytest.approx(0.5)


def test_only_so_many_of_a_pool_are_read_at_once() -> None:
    edge = Edge(a_pool(), a_pool("default/n", "n", addresses=["10.0.1.1:8000"]), sampled_streams=2)
    open_taps = []
    for number in range(5):
        edge.clock.now_s += 1
        routed(edge, f"r{number}")
        tap = tapped(edge, f"r{number}", TOKEN, ends=False)
        open_taps.append(not tap.exchange.is_over)
    assert open_taps == [True, True, False, False, False]
    stream = edge.stream("other")
    stream.send(configured(gateway.headers(), BodyMode.BUFFERED))
    stream.send(gateway.body(PROMPT.replace(b'"m"', b'"n"')))
    assert not tapped(edge, "other", TOKEN, ends=False).exchange.is_over


def test_a_budget_of_none_reads_nothing() -> None:
    edge = an_edge(streams=0)
    routed(edge, "r")
    assert tapped(edge, "r", TOKEN, ends=False).exchange.is_over
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1


@pytest.mark.parametrize(
    ("chunks", "ends", "outcome"),
    [
        pytest.param([TOKEN, DONE], True, "no-usage", id="the client asked for none"),
        pytest.param([TOKEN, usage_event(9)], False, "cut", id="the client has left"),
        pytest.param([TOKEN, an_event(error={"code": 500}), DONE], True, "error", id="error"),
        pytest.param([b"\x1f\x8b\x08"], True, "unreadable", id="compressed"),
    ],
)
def test_a_response_without_usage_is_counted_and_teaches_nothing(
    chunks: list[bytes], ends: bool, outcome: str
) -> None:
    edge = an_edge()
    stream = routed(edge, "r")
    tapped(edge, "r", *chunks, ends=ends).close()
    stream.close()
    assert sampled(edge, outcome) == 1
    assert edge.ratios.tokens_per_byte("m") == 0.25
    assert edge.is_idle


def test_a_response_in_one_chunk_is_read_without_another_message() -> None:
    edge = an_edge()
    routed(edge, "r")
    tap = edge.stream("r")
    body = orjson.dumps({"usage": {"prompt_tokens": 6000, "completion_tokens": 1}})
    chunk = gateway.tap_chunk(body)
    chunk.response_body.end_of_stream = True
    tap.send(chunk)
    assert tap.exchange.is_over
    assert sampled(edge, "usage") == 1


def test_a_tap_of_an_error_or_of_a_stranger_is_not_read() -> None:
    edge = an_edge()
    routed(edge, "r")
    for request_id, status in (("r", 503), ("r", 200), ("stranger", 200)):
        tap = edge.stream(request_id)
        tap.send(gateway.tap_chunk(TOKEN, status=status))
        assert tap.exchange.is_over


def test_what_is_learned_of_a_pool_that_is_gone_harms_nobody() -> None:
    edge = an_edge()
    stream = routed(edge, "r")
    tap = tapped(edge, "r", TOKEN, ends=False)
    edge.dispatcher.apply(Fleet())
    tap.send(gateway.response_body(usage_event(6000, 10) + DONE, end_of_stream=True))
    stream.close()
    assert sampled(edge, "usage") == 1


# -- without a tap ---------------------------------------------------------------------------


def test_a_gateway_without_a_tap_is_asked_in_two_steps_and_the_body_passes() -> None:
    edge = an_edge()
    stream = edge.stream("r")
    [asks] = stream.send(configured(gateway.headers(), BodyMode.BUFFERED))
    assert mode_of(asks) == (BodyMode.BUFFERED, ProcessingMode.SEND, BodyMode.NONE)
    stream.send(gateway.body(PROMPT))
    [reads] = stream.send(gateway.response_headers())
    assert mode_of(reads) == (BodyMode.BUFFERED, ProcessingMode.SEND, BodyMode.STREAMED)
    for chunk in (TOKEN, usage_event(6000, 0)):
        [passes] = stream.send(gateway.response_body(chunk))
        assert passes == pb.ProcessingResponse(response_body=pb.BodyResponse())
    stream.send(gateway.response_body(b"", end_of_stream=True))
    assert sampled(edge, "usage") == 1
    assert edge.core.leases_outstanding == 0
    assert edge.ratios.tokens_per_byte("m") > 0.3
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1
    stream.close()
    assert edge.is_idle


def test_a_gateway_is_not_asked_again_at_once_nor_where_a_pool_has_no_room() -> None:
    edge = an_edge(streams=1)

    def asked(request_id: str) -> list[tuple[int, int, int] | None]:
        stream = edge.stream(request_id)
        [headers] = stream.send(configured(gateway.headers(), BodyMode.BUFFERED))
        stream.send(gateway.body(PROMPT))
        [response] = stream.send(gateway.response_headers())
        return [mode_of(headers), mode_of(response)]

    assert None not in asked("r1")
    assert asked("r2") == [None, None]
    edge.clock.now_s += 1
    first, second = asked("r3")
    assert first is not None and second is None


def test_a_gateway_with_a_tap_is_not_asked() -> None:
    edge = an_edge()
    tapped(edge, "stranger", TOKEN, ends=False)
    [headers] = edge.stream("r").send(configured(gateway.headers(), BodyMode.BUFFERED))
    assert mode_of(headers) is None


@pytest.mark.parametrize("status", ["404", "500"])
def test_an_error_is_not_read(status: str) -> None:
    edge = an_edge()
    stream = routed(edge, "r")
    [passes] = stream.send(gateway.response_headers(status))
    assert mode_of(passes) is None


@pytest.mark.parametrize("mode", [BodyMode.STREAMED, BodyMode.FULL_DUPLEX_STREAMED])
def test_bodies_that_a_gateway_sends_anyway_are_read_within_the_budget(mode: BodyMode) -> None:
    edge = an_edge(streams=1)
    for request_id in ("r1", "r2"):
        stream = routed(edge, request_id, response=mode)
        stream.send(gateway.response_headers())
        answers = stream.send(gateway.response_body(TOKEN + usage_event(6000) + DONE))
        assert len(answers) == 1
        if mode is BodyMode.FULL_DUPLEX_STREAMED:
            streamed = answers[0].response_body.response.body_mutation.streamed_response
            assert streamed.body == TOKEN + usage_event(6000) + DONE
    assert sampled(edge, "usage") == 1
    assert edge.count("headway_first_tokens_total", outcome="matched") == 2


@pytest.mark.parametrize("request_mode", [BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE])
def test_where_an_override_would_be_ignored_none_is_sent(request_mode: BodyMode) -> None:
    stream = an_edge().stream("r")
    answers = stream.send(configured(gateway.headers(), request_mode))
    answers += stream.send(gateway.body(PROMPT))
    assert [mode_of(answer) for answer in answers if mode_of(answer)] == []


# -- the budget ------------------------------------------------------------------------------


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 1)), max_size=60),
)
def test_a_budget_is_kept_per_pool_and_has_room_again(
    streams: int, steps: list[tuple[str, bool, float]]
) -> None:
    budget, now = SampleBudget(streams), 0.0
    taken = {"a": 0, "b": 0}
    last = {"a": float("-inf"), "b": float("-inf")}
    for pool, takes, gap_s in steps:
        now += gap_s
        if not takes:
            if taken[pool]:
                budget.give_back(pool)
                taken[pool] -= 1
            continue
        may = taken[pool] < streams and now >= last[pool] + LEAST_GAP_S
        assert budget.take(pool, now) == may
        if may:
            taken[pool] += 1
            last[pool] = now
