"""``/v1/responses``: text in, one message out, plain or as the API's typed events.

Basic: nothing is stored, so ``previous_response_id`` and the routes that need a store are absent.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from headway_engine.answers import ChoiceText
from headway_engine.bodies import GenerationBody, ResponsesBody
from headway_engine.errors import Refused, bad_request
from headway_engine.event_stream import EventStream, error_event, named_event
from headway_engine.faults import Faults
from headway_engine.frontend import Call, Exchange, Frontend
from headway_engine.generation import Generation
from headway_engine.headers import priority_of, session_of
from headway_engine.http_edge import json_response, read_body
from headway_engine.prompts import chat_prompt
from headway_engine.sampling import sampling


class ResponsesApi:
    def __init__(self, frontend: Frontend, faults: Faults, rng: random.Random) -> None:
        self._frontend = frontend
        self._faults = faults
        self._rng = rng

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/responses", self.create)]

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(ResponsesBody, request)
        model, adapter = self._frontend.served(body.model)
        call = Call(
            response_id=body.request_id or f"resp_{self._rng.getrandbits(64):016x}",
            model=model,
            adapter=adapter,
            session_id=session_of(body.session_id, request.headers),
            priority=priority_of(body.priority, request.headers),
            cache_salt=body.cache_salt,
        )
        prompt = chat_prompt(self._frontend.tokenizer, _messages(body))
        wanted = sampling(
            GenerationBody(
                max_tokens=body.max_output_tokens,
                temperature=body.temperature,
                top_p=body.top_p,
                seed=body.seed,
                stop=body.stop,
                ignore_eos=body.ignore_eos,
            ),
            len(prompt),
            self._frontend.settings.engine.max_model_len,
        )
        answer = _Answer(body, call, int(time.time()), f"msg_{self._rng.getrandbits(64):016x}")
        with self._frontend.exchange(
            [prompt], wanted, call, streamed=bool(body.stream)
        ) as exchange:
            if body.stream:
                return await self._stream(request, answer, exchange)
            await exchange.finished()
            (generation,) = exchange.generations
            text = self._text(generation).of(generation.take())
            return json_response(answer.whole(generation, text))

    async def _stream(
        self, request: web.Request, answer: "_Answer", exchange: Exchange
    ) -> web.StreamResponse:
        stream = await EventStream.open(request, self._faults)
        (generation,) = exchange.generations
        pieces = self._text(generation)
        texts: list[str] = []
        try:
            await stream.send(answer.opening())
            async for _ in exchange.progress():
                texts.append(pieces.of(generation.take()))
                await stream.send(answer.delta(texts[-1]))
            await stream.send(answer.closing(generation, "".join(texts)))
        except Refused as error:
            await stream.send(error_event(error))
        return await stream.close()

    def _text(self, generation: Generation) -> ChoiceText:
        return ChoiceText(generation, self._frontend.tokenizer.stream())


class _Answer:
    """The objects of one response, and its numbered events."""

    def __init__(self, body: ResponsesBody, call: Call, created_s: int, item_id: str) -> None:
        self._body = body
        self._call = call
        self._created_s = created_s
        self._item_id = item_id
        self._sequence = 0

    def whole(self, generation: Generation, text: str) -> dict[str, Any]:
        cut = generation.finish_reason == "length"
        usage = {
            "input_tokens": len(generation.prompt),
            "input_tokens_details": {"cached_tokens": generation.cached_tokens or 0},
            "output_tokens": generation.emitted,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": len(generation.prompt) + generation.emitted,
        }
        return {
            **self._response("incomplete" if cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self._item("completed", [_part(text)])],
            "usage": usage,
        }

    def opening(self) -> bytes:
        response = self._response("in_progress")
        return b"".join(
            (
                self._event("response.created", response=response),
                self._event("response.in_progress", response=response),
                self._event(
                    "response.output_item.added",
                    output_index=0,
                    item=self._item("in_progress", []),
                ),
                self._event("response.content_part.added", **self._place(), part=_part("")),
            )
        )

    def delta(self, text: str) -> bytes:
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def closing(self, generation: Generation, text: str) -> bytes:
        response = self.whole(generation, text)
        last = "response.completed" if response["status"] == "completed" else "response.incomplete"
        return b"".join(
            (
                self._event("response.output_text.done", **self._place(), text=text, logprobs=[]),
                self._event("response.content_part.done", **self._place(), part=_part(text)),
                self._event(
                    "response.output_item.done",
                    output_index=0,
                    item=self._item("completed", [_part(text)]),
                ),
                self._event(last, response=response),
            )
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        payload = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return named_event(kind, orjson.dumps(payload))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "content": content,
            "role": "assistant",
            "status": status,
            "type": "message",
        }

    def _response(self, status: str) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._call.response_id,
            "created_at": self._created_s,
            "incomplete_details": None,
            "instructions": body.instructions,
            "metadata": body.metadata,
            "model": self._call.model,
            "object": "response",
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "max_output_tokens": body.max_output_tokens,
            "service_tier": "auto",
            "status": status,
            "truncation": "disabled",
            "usage": None,
            "user": None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": None}


def _messages(body: ResponsesBody) -> Sequence[Mapping[str, Any]]:
    """Raises: Refused: an input item is not a message."""
    messages: list[Mapping[str, Any]] = []
    if body.instructions is not None:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        return [*messages, {"role": "user", "content": body.input}]
    for item in body.input:
        if item.get("type", "message") != "message" or not isinstance(item.get("role"), str):
            raise bad_request("only messages are simulated as input items", "input")
        messages.append(item)
    return messages
