"""A few responses are read as they pass a real Envoy: what is learned, and that nobody notices."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine_contract.model_folder import write_model
from engine_contract.undisturbed import undisturbed
from gateway_stack.engines import Engine, start_engines
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, eventually, leases_returned, open_streams
from headway_cli.demo.processes import Children
from headway_router.envoy import BodyMode
from headway_router.openai.ratios import PRIOR_BYTES, START_TOKENS_PER_BYTE

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PROMPT_REPEATS = 100
SAMPLES = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Engine]]:
    """With a real tokenizer: what a byte is worth has to be learned."""
    folder = tmp_path_factory.mktemp("engines")
    write_model(folder / "model")
    size = {"num_gpu_blocks_override": 2000, "max_model_len": 16_384}
    async with Children(folder) as children:
        yield await start_engines(children, "chat", 2, tokenizer=folder / "model", **size)


async def answer(stack: Stack, url: str, prompt: str, **fields: object) -> bytes:
    body: dict[str, Any] = {"model": "chat", "prompt": prompt, "max_tokens": 12, "temperature": 0}
    body |= {"ignore_eos": True, **fields}
    async with stack.session.post(f"{url}/v1/completions", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.read()


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def text_of(stream: bytes) -> str:
    """What the events say.  An engine puts more tokens into one while its client is slow."""
    *events, done, rest = stream.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    choices = [json.loads(event.removeprefix(b"data: "))["choices"] for event in events]
    return "".join(choice["text"] for [choice] in choices[:-1])


async def sampled(stack: Stack, outcome: str) -> float:
    name = "headway_sampled_responses_total"
    return await stack.metric(stack.routers[0], name, outcome=outcome)


@pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
@pytest.mark.parametrize(
    ("body_mode", "has_tap"),
    [
        pytest.param(BodyMode.BUFFERED, True, id="at the tap"),
        pytest.param(BodyMode.FULL_DUPLEX_STREAMED, True, id="at the tap, full duplex"),
        pytest.param(BodyMode.BUFFERED, False, id="without a tap, by mode override"),
    ],
)
async def test_usage_teaches_the_length_of_prompts_and_the_stream_is_untouched(
    transport: str, body_mode: BodyMode, has_tap: bool, engines: list[Engine], tmp_path: Path
) -> None:
    about = f"{transport} {body_mode} {has_tap}"
    async with running_stack(
        tmp_path, engines, body_mode=body_mode, first_token_tap=has_tap, transport=transport
    ) as stack:
        [router] = stack.routers
        tokens = size = 0
        while await sampled(stack, "usage") < SAMPLES:
            # Another text each time, so that none is cached.
            prompt = f"{about} {size} is a story about it; " * PROMPT_REPEATS
            streamed = await answer(stack, stack.envoy.url, prompt, **STREAM)
            direct = await answer(stack, f"http://{engines[0].address}", prompt, **STREAM)
            assert text_of(streamed) == text_of(direct)
            prompt = f"{size} {prompt}"
            whole = await answer(stack, stack.envoy.url, prompt)
            usage = json.loads(whole)["usage"]
            tokens, size = tokens + usage["prompt_tokens"], size + len(prompt)
        true = tokens / size
        learned = await stack.metric(router, "headway_tokens_per_byte")
        reported = await stack.metric(
            router, "headway_sampled_prompt_tokens_total", source="reported"
        )
        evidence = (START_TOKENS_PER_BYTE * PRIOR_BYTES + reported) / (
            PRIOR_BYTES + reported / true
        )
        assert abs(true - START_TOKENS_PER_BYTE) > 0.1, "the start is right already"
        assert learned == pytest.approx(evidence, rel=0.02)
        assert abs(learned - true) < 0.5 * abs(START_TOKENS_PER_BYTE - true)
        assert await sampled(stack, "usage") >= SAMPLES
        assert await sampled(stack, "unreadable") == await sampled(stack, "error") == 0
        assert await stack.metric(router, "headway_inter_token_seconds_count") > 0
        assert await stack.metric(router, "headway_first_tokens_total", outcome="matched") > 0
        assert await stack.envoy_count("ext_proc", "streams_failed") == 0
        await leases_returned(stack)

        async def none_open() -> bool:
            return await stack.metric(router, "headway_streams_open") == 0

        await eventually(none_open, "the streams of the samples are closed")


async def test_predicted_hits_are_compared_with_the_reported(
    engines: list[Engine], tmp_path: Path
) -> None:
    prompt = "hits that come true, told again and again; " * PROMPT_REPEATS
    name = "headway_sampled_hit_tokens_total"
    async with running_stack(tmp_path, engines) as stack:
        [router] = stack.routers

        async def is_compared() -> bool:
            await answer(stack, stack.envoy.url, prompt, **STREAM)
            return await stack.metric(router, name, source="reported") > 0

        await eventually(is_compared, "an answer that found its prompt cached was read")
        assert await stack.metric(router, name, source="predicted") > 0


async def test_a_client_that_asks_for_no_usage_gets_none_and_is_counted(
    engines: list[Engine], tmp_path: Path
) -> None:
    async with running_stack(tmp_path, engines) as stack:

        async def is_counted() -> bool:
            body = await answer(stack, stack.envoy.url, "no usage", stream=True)
            assert b'"usage":{' not in body
            return await sampled(stack, "no-usage") > 0

        await eventually(is_counted, "a response without usage was read")
        assert await stack.metric(stack.routers[0], "headway_tokens_per_byte") == 0.25


@undisturbed
@pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
async def test_a_stream_in_full_duplex_is_charged_until_its_end(
    transport: str, engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its samples are of requests that are still known, because their streams are still open."""
    async with running_stack(
        tmp_path_factory.mktemp("duplex"),
        engines,
        body_mode=BodyMode.FULL_DUPLEX_STREAMED,
        transport=transport,
    ) as stack:
        async with open_streams(stack, 4, "full duplex"):
            assert await stack.leases() == 4
        await leases_returned(stack)
