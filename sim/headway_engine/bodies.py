"""Bodies of requests: the fields the server obeys, checked as vLLM checks them.

vLLM's API takes unknown fields, and so do these models: ``extra="ignore"`` is the one exception to
the rule that bodies forbid them.  What only shapes the text (``tools`` beyond their tokens,
``response_format``, penalties, ``logprobs``) is accepted and has no effect.
"""

import json
from typing import Any, NotRequired, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from headway_engine.errors import Refused


class Message(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's convention

    role: str
    content: NotRequired[str | list[dict[str, Any]] | None]


class StreamOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class GenerationBody(BaseModel):
    """What the two OpenAI endpoints share."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    n: int | None = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    priority: int = Field(default=0, ge=-(2**63), lt=2**63)
    request_id: str | None = None
    session_id: str | None = None
    cache_salt: str | None = Field(default=None, max_length=1024)
    return_token_ids: bool | None = None
    kv_transfer_params: dict[str, Any] | None = None
    echo: bool | None = False


class ChatBody(GenerationBody):
    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    return_prompt_text: bool | None = None


class CompletionBody(GenerationBody):
    prompt: list[int] | list[list[int]] | str | list[str] | None = None
    max_tokens: int | None = 16


class TokenizeBody(BaseModel):
    """Either ``prompt`` or ``messages``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False


class DetokenizeBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    tokens: list[int]


class ResponsesBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool = False
    stream: bool | None = False
    priority: int = 0
    request_id: str | None = None
    session_id: str | None = None
    cache_salt: str | None = Field(default=None, max_length=1024)
    metadata: dict[str, str] | None = None


class CountTokensBody(BaseModel):
    """Of Anthropic's Messages API, like the next."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    messages: list[Message]
    system: str | list[dict[str, Any]] | None = None


class MessagesBody(CountTokensBody):
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = False
    cache_salt: str | None = Field(default=None, max_length=1024)


class LoadAdapterBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    lora_name: str = ""
    lora_path: str = ""
    load_inplace: bool = False


class UnloadAdapterBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    lora_name: str = ""
    lora_int_id: int | None = None


Body = TypeVar("Body", bound=BaseModel)


def parse(model: type[Body], raw: bytes) -> Body:
    """The checked body.

    Raises:
        Refused: 400 of the type "Bad Request"; ``param`` is the path of the first fault.
    """
    try:
        loaded = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _not_json(raw) from None
    try:
        return model.model_validate(loaded)
    except ValidationError as error:
        faults = [
            {
                "type": fault["type"],
                "loc": ".".join(["body", *map(str, fault["loc"])]),
                "msg": fault["msg"],
                "input": _shown(fault["input"]),
            }
            for fault in error.errors(include_url=False, include_context=False)
        ]
        raise invalid_body(faults) from None


def invalid_body(faults: list[dict[str, Any]]) -> Refused:
    noun = "error" if len(faults) == 1 else "errors"
    lines = "\n".join(f"  {fault}" for fault in faults)
    message = f"{len(faults)} validation {noun}:\n{lines}"
    return Refused(400, "Bad Request", message, faults[0]["loc"])


def _not_json(raw: bytes) -> Refused:
    """The standard library names the place and the fault, as vLLM's framework does."""
    try:
        json.loads(raw)
    except json.JSONDecodeError as error:
        position, reason = error.pos, error.msg
    except UnicodeDecodeError as error:
        position, reason = error.start, error.reason
    else:
        position, reason = 0, "not valid JSON"
    fault = {
        "type": "json_invalid",
        "loc": f"body.{position}",
        "msg": "JSON decode error",
        "input": "<dict of 0 items>",
        "ctx": {"error": reason},
    }
    return invalid_body([fault])


def _shown(value: object) -> object:
    """Containers by their size: a message must not repeat a whole prompt."""
    if isinstance(value, dict | list):
        return f"<{type(value).__name__} of {len(value)} items>"
    return value[:64] if isinstance(value, str) else value
