"""Prompts as token ids, from the forms in which clients send them."""

from collections.abc import Mapping, Sequence
from typing import Any

from headway_engine.errors import Refused, bad_request
from headway_engine.frontend import Frontend
from headway_engine.token_ids import TokenIds
from headway_engine.tokenizer import Tokenizer


def chat_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Any] | None = None,
    add_generation_prompt: bool = True,
) -> TokenIds:
    if not messages:
        raise bad_request(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    flat = [{**message, "content": text_of(message.get("content"))} for message in messages]
    return tokenizer.encode_chat(flat, tools, add_generation_prompt)


def text_of(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    """Text parts by lines, as vLLM's "string" content format has them.

    Raises: Refused: a part is not text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    lines = []
    for part in content:
        text = part.get("text")
        if part.get("type", "text") not in ("text", "input_text", "output_text") or not isinstance(
            text, str
        ):
            raise bad_request(f"only text is simulated, got a part of type {part.get('type')!r}")
        lines.append(text)
    return "\n".join(lines)


def completion_prompts(
    frontend: Frontend, prompt: list[int] | list[list[int]] | str | list[str] | None
) -> list[TokenIds]:
    """One or several prompts, as text or as token ids."""
    match prompt:
        case None | "" | []:
            raise _empty()
        case str():
            return [frontend.tokenizer.encode(prompt)]
        case [int(), *_]:
            return [frontend.checked(prompt)]  # type: ignore[arg-type]  # checked by the body
        case _:
            return [
                frontend.tokenizer.encode(entry)
                if isinstance(entry, str)
                else frontend.checked(entry)  # type: ignore[arg-type]
                for entry in prompt
            ]


def _empty() -> Refused:
    return bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
