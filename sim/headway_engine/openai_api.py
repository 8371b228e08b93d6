"""``/v1/chat/completions`` and ``/v1/completions``."""

import random
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from headway_engine.answers import ChoiceText, Usage, fingerprint, timing
from headway_engine.bodies import ChatBody, CompletionBody, GenerationBody
from headway_engine.chunks import ChatChunks, CompletionChunks, head
from headway_engine.clock import EngineClock
from headway_engine.errors import bad_request
from headway_engine.faults import Faults
from headway_engine.frontend import Call, Exchange, Frontend
from headway_engine.generation import Generation
from headway_engine.headers import priority_of, response_id, session_of
from headway_engine.http_edge import json_response, read_body
from headway_engine.openai_stream import OpenAiStream
from headway_engine.orca import OrcaReport
from headway_engine.prompts import chat_prompt, completion_prompts
from headway_engine.sampling import sampling
from headway_engine.token_ids import TokenIds


class OpenAiApi:
    def __init__(
        self,
        frontend: Frontend,
        clock: EngineClock,
        faults: Faults,
        orca: OrcaReport,
        rng: random.Random,
    ) -> None:
        self._frontend = frontend
        self._clock = clock
        self._faults = faults
        self._orca = orca
        self._rng = rng
        self._fingerprint = fingerprint(frontend.settings)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completions),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(ChatBody, request)
        call = self._call(request, body, "chatcmpl")
        prompt = chat_prompt(
            self._frontend.tokenizer, body.messages, body.tools, body.add_generation_prompt
        )
        return await self._answer(request, body, call, [prompt])

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(CompletionBody, request)
        call = self._call(request, body, "cmpl")
        prompts = completion_prompts(self._frontend, body.prompt)
        return await self._answer(request, body, call, prompts)

    def _call(self, request: web.Request, body: GenerationBody, prefix: str) -> Call:
        if body.stream_options is not None and not body.stream:
            raise bad_request(
                "Stream options can only be defined when `stream=True`.", "stream_options"
            )
        if body.cache_salt == "":
            raise bad_request(
                "Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt"
            )
        model, adapter = self._frontend.served(body.model)
        return Call(
            response_id=response_id(
                prefix, body.request_id, request.headers, f"{self._rng.getrandbits(64):016x}"
            ),
            model=model,
            adapter=adapter,
            session_id=session_of(body.session_id, request.headers),
            priority=priority_of(body.priority, request.headers),
            cache_salt=body.cache_salt,
        )

    async def _answer(
        self, request: web.Request, body: GenerationBody, call: Call, prompts: Sequence[TokenIds]
    ) -> web.StreamResponse:
        settings = self._frontend.settings
        wanted = sampling(body, max(map(len, prompts)), settings.engine.max_model_len)
        with self._frontend.exchange(prompts, wanted, call, streamed=bool(body.stream)) as exchange:
            if body.stream:
                return await self._stream(request, body, call, exchange)
            await exchange.finished()
            payload = (
                self._chat_payload(body, call, exchange)
                if isinstance(body, ChatBody)
                else self._completion_payload(body, call, exchange)
            )
            return json_response(payload, headers=self._orca.headers(request))

    async def _stream(
        self, request: web.Request, body: GenerationBody, call: Call, exchange: Exchange
    ) -> web.StreamResponse:
        kind = ChatChunks if isinstance(body, ChatBody) else CompletionChunks
        start = head(kind.kind, call.response_id, int(time.time()), call.model)
        stream = OpenAiStream(
            kind(start),
            start,
            body,
            exchange,
            self._frontend,
            self._fingerprint,
        )
        return await stream.run(request, self._faults, self._clock)

    def _chat_payload(self, body: ChatBody, call: Call, exchange: Exchange) -> dict[str, Any]:
        choices = []
        for index, generation in enumerate(exchange.generations):
            tokens = generation.take()
            choices.append(
                {
                    "index": index,
                    "message": {
                        "role": "assistant",
                        "content": self._text(generation, tokens),
                        "refusal": None,
                        "annotations": None,
                        "audio": None,
                        "function_call": None,
                        "reasoning": None,
                    },
                    "logprobs": None,
                    "finish_reason": generation.finish_reason,
                    "stop_reason": generation.stop_reason,
                    "token_ids": tokens if body.return_token_ids else None,
                    "routed_experts": None,
                }
            )
        prompt = exchange.generations[0].prompt
        return {
            **self._envelope("chat.completion", call, choices),
            "usage": self._usage(body, exchange).whole(chat=True),
            "prompt_logprobs": None,
            "prompt_token_ids": list(prompt) if body.return_token_ids else None,
            "prompt_text": None,
            **self._tail(exchange),
        }

    def _completion_payload(
        self, body: GenerationBody, call: Call, exchange: Exchange
    ) -> dict[str, Any]:
        choices = []
        for index, generation in enumerate(exchange.generations):
            tokens = generation.take()
            echo = self._frontend.tokenizer.decode(generation.prompt) if body.echo else ""
            prompt_ids = list(generation.prompt) if body.return_token_ids else None
            choices.append(
                {
                    "index": index,
                    "text": echo + self._text(generation, tokens),
                    "logprobs": None,
                    "finish_reason": generation.finish_reason,
                    "stop_reason": generation.stop_reason,
                    "token_ids": tokens if body.return_token_ids else None,
                    "prompt_logprobs": None,
                    "prompt_token_ids": prompt_ids,
                    "routed_experts": None,
                }
            )
        return {
            **self._envelope("text_completion", call, choices),
            "usage": self._usage(body, exchange).whole(chat=False),
            **self._tail(exchange),
        }

    def _envelope(self, kind: str, call: Call, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": call.response_id,
            "object": kind,
            "created": int(time.time()),
            "model": call.model,
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": self._fingerprint,
        }

    def _tail(self, exchange: Exchange) -> dict[str, Any]:
        metrics = None
        if self._frontend.settings.flags.enable_per_request_metrics:
            metrics = timing(exchange.generations, self._clock)
            if metrics is not None:
                metrics["speculative_decoding"] = None
        return {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": metrics}

    def _usage(self, body: GenerationBody, exchange: Exchange) -> Usage:
        return Usage(self._frontend.settings, exchange.generations, body.n or 1)

    def _text(self, generation: Generation, tokens: list[int]) -> str:
        return ChoiceText(generation, self._frontend.tokenizer.stream()).of(tokens)
