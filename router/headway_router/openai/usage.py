"""Reads a response as it passes: its tokens as they come, and the usage that it reports.

A body is JSON, or server-sent events of JSON; chunks may be cut anywhere.  Of the events only
those that can hold usage are parsed, and nothing of a text is kept.  Usage is merged field by
field, as Anthropic's API tells the prompt's at the beginning and the answer's at the end.
"""

from dataclasses import dataclass

import orjson

MAX_BYTES = 4 * 2**20
"""Of one event, or of a JSON body; what is longer is not read."""

_COUNTS = (
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens"),
)
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_HOLDERS = ("message", "response")
"""Objects within an event that may hold its ``usage``: Anthropic's first, OpenAI's last."""
_LAST = frozenset(
    {"message_stop", "response.completed", "response.incomplete", "response.failed", "error"}
)
_TOKEN_EVENTS = (b'"choices":', b'"content_block_delta"', b'.delta"')


@dataclass(frozen=True, slots=True)
class Usage:
    """None: not reported."""

    prompt_tokens: int | None
    """Cached ones included."""
    cached_tokens: int | None
    output_tokens: int | None


class UsageReader:
    """Of one response's body."""

    def __init__(self) -> None:
        self.is_complete = False
        """Its last event was read, or all of its JSON."""
        self.is_unreadable = False
        """Neither JSON nor events (compressed, say), or too long."""
        self.has_error = False
        """The engine failed after the status had been sent."""
        self._is_json: bool | None = None
        self._line = bytearray()
        """What has no end yet; of JSON, all of it."""
        self._data = bytearray()
        """Of the event that has no end yet."""
        self._ends_in_return = False
        self._tokens = 0
        self._counts: dict[str, int] = {}

    @property
    def usage(self) -> Usage | None:
        """What was reported so far; None: nothing."""
        counts = self._counts
        if not counts:
            return None
        prompt = counts.get("prompt_tokens", counts.get("input_tokens"))
        cached = counts.get("cached_tokens")
        if cached is None and (read := counts.get("cache_read_input_tokens")) is not None:
            # Anthropic's input tokens are those that were neither read from a cache nor put there.
            cached = read
            if prompt is not None:
                prompt += read + counts.get("cache_creation_input_tokens", 0)
        output = counts.get("completion_tokens", counts.get("output_tokens"))
        return Usage(prompt, cached, output)

    def feed(self, chunk: bytes) -> int:
        """Take the next bytes.  Returns: events with tokens that have come to their end in them."""
        if self.is_unreadable or not chunk:
            return 0
        if self._is_json is None and not self._tell_kind(chunk):
            return 0
        before = self._tokens
        if self._is_json:
            self._line += chunk
        else:
            self._read_lines(chunk)
        if len(self._line) + len(self._data) > MAX_BYTES:
            self._give_up()
        return self._tokens - before

    def end(self) -> None:
        """There is no more: read what has no end of its own."""
        if self.is_unreadable or self._is_json is None:
            return
        if self._is_json:
            self._take(bytes(self._line))
            self.is_complete = True
        else:
            self._read_lines(b"\n\n")

    def _tell_kind(self, chunk: bytes) -> bool:
        """By its first byte that is no space, as nothing says more.  False: none has come."""
        start = chunk.lstrip()
        if not start:
            return False
        self._is_json = start[:1] == b"{"
        if not self._is_json and start[:1] not in b"dei:r":  # A field's name, or a comment.
            self._give_up()
        return not self.is_unreadable

    def _give_up(self) -> None:
        self.is_unreadable = True
        self._line.clear()
        self._data.clear()

    def _read_lines(self, chunk: bytes) -> None:
        """Lines end with LF, CR or both: these two may come apart."""
        if self._ends_in_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._ends_in_return = chunk.endswith(b"\r")
        self._line += chunk
        lines = bytes(self._line).splitlines(keepends=True)
        self._line.clear()
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._line += lines.pop()
        for line in lines:
            self._read_line(line.rstrip(b"\r\n"))

    def _read_line(self, line: bytes) -> None:
        if not line:
            event = bytes(self._data)
            self._data.clear()
            if event:
                self._event(event)
        elif line.startswith(b"data:"):
            if self._data:
                self._data += b"\n"
            self._data += line[5:].removeprefix(b" ")

    def _event(self, data: bytes) -> None:
        if data.strip() == b"[DONE]":
            self.is_complete = True
            return
        if any(mark in data for mark in _TOKEN_EVENTS) and b'"choices":[]' not in data:
            self._tokens += 1
        if b'"usage"' in data or b'"error"' in data or b'_stop"' in data:
            self._take(data)

    def _take(self, text: bytes) -> None:
        try:
            found: object = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        if not isinstance(found, dict):
            return
        self._merge(found.get("usage"))
        for holder in _HOLDERS:
            if isinstance(inner := found.get(holder), dict):
                self._merge(inner.get("usage"))
        self.has_error |= found.get("error") is not None
        self.is_complete |= found.get("type") in _LAST

    def _merge(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        self._count(usage, _COUNTS)
        for name in _DETAILS:
            if isinstance(details := usage.get(name), dict):
                self._count(details, ("cached_tokens",))

    def _count(self, found: dict[str, object], names: tuple[str, ...]) -> None:
        for name in names:
            number = found.get(name)
            if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
                self._counts[name] = number
