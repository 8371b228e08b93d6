"""A streamed answer of chat or completions, from open to ``[DONE]``."""

from typing import Any

from aiohttp import web

from headway_engine.answers import ChoiceText, Usage, timing
from headway_engine.bodies import GenerationBody
from headway_engine.chunks import ChatChunks, CompletionChunks, Piece, extra
from headway_engine.clock import EngineClock
from headway_engine.errors import Refused
from headway_engine.event_stream import DONE, EventStream, error_event, event
from headway_engine.faults import Faults
from headway_engine.frontend import Exchange, Frontend
from headway_engine.generation import Generation


class OpenAiStream:
    """Writes the chunks of one exchange.

    One chunk per token while the consumer keeps up; what came meanwhile shares one otherwise.
    """

    def __init__(
        self,
        chunks: ChatChunks | CompletionChunks,
        head: bytes,
        body: GenerationBody,
        exchange: Exchange,
        frontend: Frontend,
        fingerprint: str,
    ) -> None:
        flags = frontend.settings.flags
        generations = exchange.generations
        self._chunks = chunks
        self._head = head
        self._exchange = exchange
        self._fingerprint = fingerprint
        self._chat = isinstance(chunks, ChatChunks)
        self._shows_ids = bool(body.return_token_ids)
        self._shows_timing = flags.enable_per_request_metrics
        options = body.stream_options
        forced = flags.enable_force_include_usage
        self._include_usage = forced or bool(options and options.include_usage)
        self._continuous = self._include_usage and bool(options and options.continuous_usage_stats)
        self._usage = Usage(frontend.settings, generations, body.n or 1)
        self._texts = [ChoiceText(g, frontend.tokenizer.stream()) for g in generations]
        self._sent_tokens = 0
        echoes = body.echo and not self._chat
        self._first = {
            index: frontend.tokenizer.decode(generation.prompt) if echoes else ""
            for index, generation in enumerate(generations)
        }
        """What comes before the answer, of choices that no chunk has told of yet."""

    async def run(
        self, request: web.Request, faults: Faults, clock: EngineClock
    ) -> web.StreamResponse:
        stream = await EventStream.open(request, faults)
        opened = not self._chat
        try:
            async for moved in self._exchange.progress():
                events = [] if opened else [self._opening(i) for i in self._first]
                opened = True
                events += [self._chunk(index, generation) for index, generation in moved]
                await stream.send(b"".join(events))
            last = self._usage_chunk(clock) if self._include_usage else b""
            await stream.send(last + DONE)
        except Refused as error:
            await stream.send(error_event(error) + DONE)
        return await stream.close()

    def _opening(self, index: int) -> bytes:
        assert isinstance(self._chunks, ChatChunks)
        prompt = self._exchange.generations[0].prompt
        fields: dict[str, Any] = {"usage": self._usage.so_far(0)} if self._continuous else {}
        fields["prompt_token_ids"] = list(prompt) if self._shows_ids else None
        fields["prompt_text"] = None
        return self._chunks.opening(index, extra(fields))

    def _chunk(self, index: int, generation: Generation) -> bytes:
        is_first = index in self._first
        # The first token is a chunk of its own, so that its arrival says when it came.
        tokens = generation.take(1 if is_first else None)
        self._sent_tokens += len(tokens)
        is_last = generation.end_is_told
        after: dict[str, Any] = {}
        if self._continuous:
            after["usage"] = self._usage.so_far(self._sent_tokens)
        if is_last and not self._include_usage:
            after["system_fingerprint"] = self._fingerprint
        return self._chunks.piece(
            Piece(
                index=index,
                text=self._first.pop(index, "") + self._texts[index].of(tokens),
                finish_reason=generation.finish_reason if is_last else None,
                stop_reason=generation.stop_reason if is_last else None,
                token_ids=tokens if self._shows_ids else None,
                prompt_token_ids=list(generation.prompt) if is_first and self._shows_ids else None,
                extra=extra(after),
            )
        )

    def _usage_chunk(self, clock: EngineClock) -> bytes:
        fields: dict[str, Any] = {
            "usage": self._usage.last_chunk(chat=self._chat),
            "system_fingerprint": self._fingerprint,
        }
        if self._shows_timing:
            fields["metrics"] = timing(self._exchange.generations, clock)
        return event(self._head + b"]" + extra(fields) + b"}")
