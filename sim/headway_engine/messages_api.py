"""``/v1/messages``: Anthropic's API over the same model, plain or as its named events."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from headway_engine.answers import ChoiceText
from headway_engine.bodies import CountTokensBody, GenerationBody, MessagesBody
from headway_engine.errors import Refused
from headway_engine.event_stream import EventStream, named_event
from headway_engine.faults import Faults
from headway_engine.frontend import Call, Exchange, Frontend
from headway_engine.generation import Generation
from headway_engine.headers import priority_of, session_of
from headway_engine.http_edge import json_response, read_body
from headway_engine.prompts import chat_prompt
from headway_engine.sampling import sampling
from headway_engine.token_ids import TokenIds


class MessagesApi:
    def __init__(self, frontend: Frontend, faults: Faults, rng: random.Random) -> None:
        self._frontend = frontend
        self._faults = faults
        self._rng = rng

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages", self.create),
            web.post("/v1/messages/count_tokens", self.count_tokens),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._create(request)
        except Refused as error:
            return json_response(_error(error), error.status)

    async def count_tokens(self, request: web.Request) -> web.Response:
        try:
            body = await read_body(CountTokensBody, request)
            self._frontend.served(body.model)
            return json_response({"input_tokens": len(self._prompt(body))})
        except Refused as error:
            return json_response(_error(error), error.status)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(MessagesBody, request)
        model, adapter = self._frontend.served(body.model)
        given = request.headers.get("X-Request-Id")
        call = Call(
            response_id=f"chatcmpl-{given or f'{self._rng.getrandbits(64):016x}'}",
            model=model,
            adapter=adapter,
            session_id=session_of(None, request.headers),
            priority=priority_of(0, request.headers),
            cache_salt=body.cache_salt,
        )
        prompt = self._prompt(body)
        wanted = sampling(
            GenerationBody(
                max_tokens=body.max_tokens,
                temperature=body.temperature,
                top_p=body.top_p,
                stop=body.stop_sequences,
            ),
            len(prompt),
            self._frontend.settings.engine.max_model_len,
        )
        with self._frontend.exchange(
            [prompt], wanted, call, streamed=bool(body.stream)
        ) as exchange:
            if body.stream:
                return await self._stream(request, call, exchange)
            await exchange.finished()
            (generation,) = exchange.generations
            text = self._text(generation).of(generation.take())
            return json_response(_message(call, generation, text))

    async def _stream(
        self, request: web.Request, call: Call, exchange: Exchange
    ) -> web.StreamResponse:
        stream = await EventStream.open(request, self._faults)
        (generation,) = exchange.generations
        pieces = self._text(generation)
        started = False
        try:
            async for _ in exchange.progress():
                opening = b"" if started else _opening(call, generation)
                started = True
                delta = {"type": "text_delta", "text": pieces.of(generation.take())}
                await stream.send(opening + _event("content_block_delta", index=0, delta=delta))
            await stream.send(_closing(generation))
        except Refused as error:
            await stream.send(_event("error", **_error(error)))
        return await stream.close()

    def _prompt(self, body: CountTokensBody) -> TokenIds:
        messages: list[Mapping[str, Any]] = []
        if body.system is not None:
            messages.append({"role": "system", "content": body.system})
        return chat_prompt(self._frontend.tokenizer, [*messages, *body.messages])

    def _text(self, generation: Generation) -> ChoiceText:
        return ChoiceText(generation, self._frontend.tokenizer.stream())


def _opening(call: Call, generation: Generation) -> bytes:
    message = {**_message(call, generation, None), "stop_reason": None, "stop_sequence": None}
    return _event("message_start", message=message) + _event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )


def _closing(generation: Generation) -> bytes:
    delta = {"stop_reason": _stop_reason(generation), "stop_sequence": _stop_text(generation)}
    return b"".join(
        (
            _event("content_block_stop", index=0),
            _event("message_delta", delta=delta, usage=_usage(generation)),
            _event("message_stop"),
        )
    )


def _event(kind: str, **fields: Any) -> bytes:
    return named_event(kind, orjson.dumps({"type": kind, **fields}))


def _message(call: Call, generation: Generation, text: str | None) -> dict[str, Any]:
    content: Sequence[Any] = [] if text is None else [{"type": "text", "text": text}]
    return {
        "id": call.response_id,
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": call.model,
        "stop_reason": _stop_reason(generation),
        "stop_sequence": _stop_text(generation),
        "usage": _usage(generation),
    }


def _usage(generation: Generation) -> dict[str, int]:
    return {"input_tokens": len(generation.prompt), "output_tokens": generation.emitted}


def _stop_reason(generation: Generation) -> str:
    if generation.finish_reason == "length":
        return "max_tokens"
    return "end_turn" if _stop_text(generation) is None else "stop_sequence"


def _stop_text(generation: Generation) -> str | None:
    reason = generation.stop_reason
    return reason if isinstance(reason, str) else None


def _error(error: Refused) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error.kind, "message": error.message}}
