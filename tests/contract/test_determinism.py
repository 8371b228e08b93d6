"""Greedy decoding depends on the prompt alone."""

from collections.abc import Callable

from engine_contract.client import Client


async def test_two_instances_continue_a_prompt_with_the_same_tokens(
    main: Client, limited: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    for prompt_tokens in (1, 40, 200):
        prompt = fresh_prompt(prompt_tokens)
        answers = [
            (await client.complete(prompt, max_tokens=40, return_token_ids=True))["choices"][0]
            for client in (main, limited, main)
        ]
        assert len(answers[0]["token_ids"]) == 40
        assert answers[1]["token_ids"] == answers[0]["token_ids"]
        assert answers[2]["token_ids"] == answers[0]["token_ids"], "a cached prefix changes nothing"
        assert len({answer["text"] for answer in answers}) == 1


async def test_other_prompts_are_continued_differently(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    first, second = [
        await main.complete(fresh_prompt(40), max_tokens=20, return_token_ids=True)
        for _ in range(2)
    ]
    assert first["choices"][0]["token_ids"] != second["choices"][0]["token_ids"]
