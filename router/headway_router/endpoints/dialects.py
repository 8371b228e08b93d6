"""Reads an engine's view out of its Prometheus text, scanning bytes for the few lines needed.

A vLLM text is 50-67 kB and seven of its lines are needed, so it is never parsed as a whole.  A
meaning that is missing, or has one unreadable value, stays None: unknown, never zero.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from headway_core.facts import EngineView

_CAPACITY = re.compile(rb'[{,]reason="capacity"')
_BLOCK_TOKENS = re.compile(rb'[{,]block_size="([^"]*)"')
_BLOCKS = re.compile(rb'[{,]num_gpu_blocks="([^"]*)"')
"""Inside a label's value a quote is escaped, so ``="`` is only ever found after a label's name."""
_AFTER_NAME = re.compile(rb"(\{.*\})?[ \t]+(\S+)")
"""Labels, value; a timestamp may follow.  Greedy, as a label's value may hold a brace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Names of one engine's metrics per meaning, the preferred one first; versions rename them.

    Source of vLLM's: recordings of 0.32; older versions call the cache's usage
    ``gpu_cache_usage_perc`` and do not tell the reasons of waiting apart.
    """

    waiting_by_reason: tuple[bytes, ...]
    """With a label ``reason``: only ``capacity`` is load, ``deferred`` waits for LoRA slots, KV
    transfers or grammars."""
    waiting: tuple[bytes, ...]
    running: tuple[bytes, ...]
    kv_usage: tuple[bytes, ...]
    cache_config: tuple[bytes, ...]
    """With the labels ``block_size`` and ``num_gpu_blocks``."""


VLLM = Dialect(
    waiting_by_reason=(b"vllm:num_requests_waiting_by_reason",),
    waiting=(b"vllm:num_requests_waiting",),
    running=(b"vllm:num_requests_running",),
    kv_usage=(b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
    cache_config=(b"vllm:cache_config_info",),
)


def engine_view(text: bytes, dialect: Dialect = VLLM) -> EngineView:
    """What the text says.  Of several engines behind one address (one ``engine`` label each):

    requests and cache sizes are sums, ``kv_usage`` is the mean.
    """
    text = b"\n" + text
    waiting = _total(
        [s for s in _series(text, dialect.waiting_by_reason) if _CAPACITY.search(s.labels)],
        _value,
    )
    if waiting is None:
        waiting = _total(_series(text, dialect.waiting), _value)
    running = _total(_series(text, dialect.running), _value)
    usages = _series(text, dialect.kv_usage)
    usage = _total(usages, _value)
    tokens = _total(_series(text, dialect.cache_config), _cache_tokens)
    return EngineView(
        waiting=None if waiting is None else round(waiting),
        running=None if running is None else round(running),
        kv_usage=None if usage is None else usage / len(usages),
        kv_cache_tokens=None if tokens is None else round(tokens),
    )


@dataclass(frozen=True, slots=True)
class _Series:
    labels: bytes
    """From ``{`` to ``}``; empty without labels."""
    value: bytes


def _series(text: bytes, names: tuple[bytes, ...]) -> list[_Series]:
    """All series of the first of the names that is there."""
    for name in names:
        if found := list(_lines(text, name)):
            return found
    return []


def _lines(text: bytes, name: bytes) -> Iterator[_Series]:
    """The lines of one family.  They are contiguous: the format allows nothing else."""
    start = b"\n" + name
    at = text.find(start)
    while at >= 0:
        if line := _AFTER_NAME.match(text, at + len(start)):
            yield _Series(line[1] or b"", line[2])
            at = text.find(b"\n", line.end())
            if at < 0 or not text.startswith(start, at):
                return
        else:  # a longer name that begins with this one
            at = text.find(start, at + 1)


def _total(series: list[_Series], read: Callable[[_Series], float | None]) -> float | None:
    """The sum; None if there is no series or one of them cannot be read."""
    values = [value for s in series if (value := read(s)) is not None]
    return sum(values) if series and len(values) == len(series) else None


def _value(series: _Series) -> float | None:
    return _number(series.value)


def _cache_tokens(series: _Series) -> float | None:
    """``block_size * num_gpu_blocks``; the value of the series is always 1."""
    block_tokens = _BLOCK_TOKENS.search(series.labels)
    blocks = _BLOCKS.search(series.labels)
    if not block_tokens or not blocks:
        return None
    tokens, count = _number(block_tokens[1]), _number(blocks[1])
    return None if tokens is None or count is None else tokens * count


def _number(word: bytes) -> float | None:
    """The word, if it is a count or a share: not NaN, not infinite, not negative."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
