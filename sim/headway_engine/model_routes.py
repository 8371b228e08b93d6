"""Models, adapters and tokens without generation."""

import random
import time
from typing import Any

from aiohttp import web

from headway_engine.bodies import (
    DetokenizeBody,
    LoadAdapterBody,
    TokenizeBody,
    UnloadAdapterBody,
)
from headway_engine.errors import Refused, bad_request
from headway_engine.frontend import Frontend
from headway_engine.http_edge import json_response, read_body
from headway_engine.prompts import chat_prompt

SCALE_OUT = (
    "/v1/chat/completions/render",
    "/v1/chat/completions/derender",
    "/v1/completions/render",
    "/v1/completions/derender",
    "/v1/messages/render",
    "/v1/responses/render",
    "/inference/v1/generate",
    "/inference/v1/abort_requests",
)
"""Routes that only ``--enable-scale-out`` opens; not simulated, refused as without the flag."""


class ModelRoutes:
    def __init__(self, frontend: Frontend, rng: random.Random) -> None:
        self._frontend = frontend
        self._rng = rng
        self._created_s = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.get("/v1/models", self.models),
            web.post("/tokenize", self.tokenize),
            web.post("/detokenize", self.detokenize),
            *(web.post(path, self.scale_out) for path in SCALE_OUT),
        ]
        if self._frontend.settings.runtime_lora:
            routes += [
                web.post("/v1/load_lora_adapter", self.load_adapter),
                web.post("/v1/unload_lora_adapter", self.unload_adapter),
            ]
        return routes

    async def models(self, request: web.Request) -> web.Response:
        settings = self._frontend.settings
        context = settings.engine.max_model_len
        first, *_ = settings.served_names
        cards = [
            self._card(name, self._created_s, settings.flags.model, None, context)
            for name in settings.served_names
        ]
        cards += [
            self._card(adapter.name, adapter.created_s, adapter.path, first, None)
            for adapter in self._frontend.adapters
        ]
        return json_response({"object": "list", "data": cards})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await read_body(TokenizeBody, request)
        self._frontend.served(body.model)
        tokenizer = self._frontend.tokenizer
        if body.messages is not None:
            ids = chat_prompt(tokenizer, body.messages, body.tools, body.add_generation_prompt)
        elif body.prompt is not None:
            ids = tokenizer.encode(body.prompt)
        else:
            raise bad_request("either prompt or messages is needed", "prompt")
        texts = [tokenizer.token_text(i) for i in ids] if body.return_token_strs else None
        return json_response(
            {
                "count": len(ids),
                "max_model_len": self._frontend.settings.engine.max_model_len,
                "tokens": list(ids),
                "token_strs": texts,
            }
        )

    async def detokenize(self, request: web.Request) -> web.Response:
        body = await read_body(DetokenizeBody, request)
        self._frontend.served(body.model)
        ids = self._frontend.checked(body.tokens) if body.tokens else []
        return json_response({"prompt": self._frontend.tokenizer.decode(ids)})

    async def load_adapter(self, request: web.Request) -> web.Response:
        body = await read_body(LoadAdapterBody, request)
        if self._frontend.settings.max_loras is None:
            raise Refused(400, "InvalidUserInput", "LoRA is not enabled: start with --enable-lora.")
        self._frontend.adapters.load(body.lora_name, body.lora_path, in_place=body.load_inplace)
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload_adapter(self, request: web.Request) -> web.Response:
        body = await read_body(UnloadAdapterBody, request)
        self._frontend.adapters.unload(body.lora_name)
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def scale_out(self, request: web.Request) -> web.Response:
        raise Refused(
            403,
            "PermissionDeniedError",
            "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to "
            "enable them.",
        )

    def _card(
        self, name: str, created_s: int, root: str, parent: str | None, context: int | None
    ) -> dict[str, Any]:
        permission = {
            "id": f"modelperm-{self._rng.getrandbits(64):016x}",
            "object": "model_permission",
            "created": created_s,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": created_s,
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": context,
            "permission": [permission],
        }
