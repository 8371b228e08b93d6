"""A streamed answer of chat or completions, from open to ``[DONE]``."""

from typing import Any

from aiohttp import web

from headway_engine.answers import ChoiceText, Usage, timing
from headway_engine.bodies import GenerationBody
from headway_engine.chunks import ChatChunks, CompletionChunks, Ending, extra
from headway_engine.clock import EngineClock
from headway_engine.errors import Refused
from headway_engine.event_stream import DONE, EventStream, error_event, event
from headway_engine.faults import Faults
from headway_engine.frontend import Exchange
from headway_engine.generation import Generation
from headway_engine.settings import Settings
from headway_engine.tokenizer import Tokenizer


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
        settings: Settings,
        tokenizer: Tokenizer,
        fingerprint: str,
    ) -> None:
        self._chunks = chunks
        self._head = head
        self._body = body
        self._exchange = exchange
        self._settings = settings
        self._fingerprint = fingerprint
        self._chat = isinstance(chunks, ChatChunks)
        options = body.stream_options
        forced = settings.flags.enable_force_include_usage
        self._include_usage = forced or bool(options and options.include_usage)
        self._continuous = self._include_usage and bool(options and options.continuous_usage_stats)
        self._usage = Usage(settings, exchange.generations, body.n or 1)
        self._texts = [ChoiceText(g, tokenizer.stream()) for g in exchange.generations]
        self._sent_tokens = 0
        self._echoed: list[str | None] = [
            tokenizer.decode(g.prompt) if body.echo and not self._chat else None
            for g in exchange.generations
        ]

    async def run(
        self, request: web.Request, faults: Faults, clock: EngineClock
    ) -> web.StreamResponse:
        stream = await EventStream.open(request, faults)
        opened = not self._chat
        try:
            async for moved in self._exchange.progress():
                events = [] if opened else [self._opening(i) for i in self._indexes()]
                opened = True
                events += [self._chunk(index, generation) for index, generation in moved]
                await stream.send(b"".join(events))
            last = self._usage_chunk(clock) if self._include_usage else b""
            await stream.send(last + DONE)
        except Refused as error:
            await stream.send(error_event(error) + DONE)
        return await stream.close()

    def _indexes(self) -> range:
        return range(len(self._exchange.generations))

    def _opening(self, index: int) -> bytes:
        assert isinstance(self._chunks, ChatChunks)
        prompt = self._exchange.generations[0].prompt
        fields: dict[str, Any] = {"usage": self._usage.so_far(0)} if self._continuous else {}
        fields["prompt_token_ids"] = list(prompt) if self._body.return_token_ids else None
        fields["prompt_text"] = None
        return self._chunks.opening(index, extra(fields))

    def _chunk(self, index: int, generation: Generation) -> bytes:
        tokens = generation.take()
        self._sent_tokens += len(tokens)
        text = self._texts[index].of(tokens)
        if self._echoed[index] is not None:
            text, self._echoed[index] = f"{self._echoed[index]}{text}", None
        ending, after = None, b""
        if generation.finish_reason is not None and not generation.has_news:
            ending = Ending(generation.finish_reason, generation.plan.stop_reason)
            if not self._include_usage:
                after = extra({"system_fingerprint": self._fingerprint})
        if self._continuous:
            after = extra({"usage": self._usage.so_far(self._sent_tokens)})
        ids = tokens if self._body.return_token_ids else None
        return self._chunks.text(index, text, ids, ending, after)

    def _usage_chunk(self, clock: EngineClock) -> bytes:
        fields: dict[str, Any] = {
            "usage": self._usage.last_chunk(chat=self._chat),
            "system_fingerprint": self._fingerprint,
        }
        if self._settings.flags.enable_per_request_metrics:
            fields["metrics"] = timing(self._exchange.generations, clock)
        return event(self._head + b"]" + extra(fields) + b"}")
