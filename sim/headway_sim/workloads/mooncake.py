"""Reads a request trace in Mooncake's format (FAST'25 artefacts, github.com/kvcache-ai/Mooncake).

One JSON object per line, ``.jsonl`` or ``.jsonl.gz``: ``timestamp`` (ms), ``input_length``,
``output_length`` (tokens), ``hash_ids`` (one id per 512 prompt tokens, the last block may be
partial; an id stands for everything up to its end).  Nothing is repaired or left out: a line that
does not fit is an error.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from random import Random

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.lines import text_lines
from headway_sim.workloads.request import Segment, WorkloadRequest

BLOCK_TOKENS = 512
TICK_S = 3.0
"""The published traces round arrival times to ticks of 3 s."""

COLUMNS = frozenset({"timestamp", "input_length", "output_length", "hash_ids"})


def load(path: Path) -> tuple[WorkloadRequest, ...]:
    """All requests of the trace, arrivals as recorded.

    Raises:
        InvalidTrace: naming the file and the line.
    """
    requests: list[WorkloadRequest] = []
    for number, line in enumerate(text_lines(path), start=1):
        try:
            request = _request(line)
        except ValueError as error:
            raise InvalidTrace(path, str(error), line=number) from error
        if requests and request.at_s < requests[-1].at_s:
            raise InvalidTrace(path, "timestamp is before that of the line above", line=number)
        requests.append(request)
    if not requests:
        raise InvalidTrace(path, "no requests")
    return tuple(requests)


def spread(requests: Sequence[WorkloadRequest], seed: int) -> tuple[WorkloadRequest, ...]:
    """Undoes the rounding: requests of one tick arrive uniformly within it, in their order.

    A tick is cut short by the next recorded time, so the order of the trace is kept.
    """
    rng = Random(f"{seed}/arrivals")
    spread_out: list[WorkloadRequest] = []
    for tick, until_next_s in _ticks(requests):
        start_s = tick[0].at_s
        offsets = sorted(rng.uniform(0.0, min(TICK_S, until_next_s)) for _ in tick)
        spread_out += [
            replace(request, at_s=start_s + offset)
            for request, offset in zip(tick, offsets, strict=True)
        ]
    return tuple(spread_out)


def spaced(requests: Sequence[WorkloadRequest]) -> tuple[WorkloadRequest, ...]:
    """Requests of one recorded time arrive at equal distances until the next one.

    The rule of DualMap's evaluation (arXiv 2602.06502): interval = gap / size of the group.
    """
    spaced_out: list[WorkloadRequest] = []
    for tick, width_s in _ticks(requests):
        start_s = tick[0].at_s
        spaced_out += [
            replace(request, at_s=start_s + number * width_s / len(tick))
            for number, request in enumerate(tick)
        ]
    return tuple(spaced_out)


def _ticks(
    requests: Sequence[WorkloadRequest],
) -> Iterator[tuple[list[WorkloadRequest], float]]:
    """Those of one recorded time, and how long it is until the next; a tick after the last."""
    ticks = [list(group) for _, group in groupby(requests, key=lambda request: request.at_s)]
    for tick, following in zip(ticks, [*ticks[1:], None], strict=True):
        yield tick, TICK_S if following is None else following[0].at_s - tick[0].at_s


def _request(line: str) -> WorkloadRequest:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(row, dict) or row.keys() != COLUMNS:
        found = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"expected the columns {', '.join(sorted(COLUMNS))}, got {found}")
    timestamp_ms = _at_least(row, "timestamp", 0)
    prompt_tokens = _at_least(row, "input_length", 1)
    output_tokens = _at_least(row, "output_length", 1)
    return WorkloadRequest(
        at_s=timestamp_ms / 1000,
        prompt=_segments(row["hash_ids"], prompt_tokens),
        output_tokens=output_tokens,
    )


def _at_least(row: dict[str, object], column: str, least: int) -> int:
    value = row[column]
    if type(value) is not int or value < least:
        raise ValueError(f"{column}: expected an integer of at least {least}, got {value!r}")
    return value


def _segments(hash_ids: object, prompt_tokens: int) -> tuple[Segment, ...]:
    if not isinstance(hash_ids, list) or any(type(block) is not int for block in hash_ids):
        raise ValueError("hash_ids: expected a list of integers")
    blocks = -(-prompt_tokens // BLOCK_TOKENS)
    if len(hash_ids) != blocks:
        raise ValueError(
            f"hash_ids: {prompt_tokens} input tokens are {blocks} blocks of {BLOCK_TOKENS},"
            f" got {len(hash_ids)}"
        )
    last = prompt_tokens - (blocks - 1) * BLOCK_TOKENS
    sizes = [BLOCK_TOKENS] * (blocks - 1) + [last]
    return tuple(
        Segment(f"block/{block}", size) for block, size in zip(hash_ids, sizes, strict=True)
    )
