"""A log of served requests, by any load generator or engine: one JSON object per line.

arrived_s, first_token_s, last_token_s     on any one clock
prompt_tokens, output_tokens
prompt                                     optional: [[key, tokens], ...], pieces whose equal
                                           keys mean equal text; without it nothing is shared
"""

from pathlib import Path

from headway_sim.errors import InvalidLog
from headway_sim.validation.lines import Line, number_in, read_lines
from headway_sim.validation.run import Stage, Timed, stage_of
from headway_sim.workloads.request import Segment

COLUMNS = ("arrived_s", "first_token_s", "last_token_s", "prompt_tokens", "output_tokens")


def read_stage(path: Path) -> Stage:
    """Raises: InvalidLog: naming file, line and column."""
    served = [_request(path, line) for line in read_lines(path, COLUMNS)]
    if not served:
        raise InvalidLog(path, "has no requests")
    if all(request.output_tokens == 1 for request in served):
        raise InvalidLog(path, "no request has a second token: there is no time per token")
    return stage_of(served)


def _request(path: Path, line: Line) -> Timed:
    number, row = line
    if unknown := row.keys() - {*COLUMNS, "prompt"}:
        raise InvalidLog(path, f"unknown {', '.join(sorted(unknown))}", number)
    arrived_s = number_in(path, line, "arrived_s", 0)
    first_token_s = number_in(path, line, "first_token_s", arrived_s)
    return Timed(
        prompt=_prompt(path, line),
        output_tokens=int(number_in(path, line, "output_tokens", 1, whole=True)),
        arrived_s=arrived_s,
        first_token_s=first_token_s,
        last_token_s=number_in(path, line, "last_token_s", first_token_s),
    )


def _prompt(path: Path, line: Line) -> tuple[Segment, ...]:
    number, row = line
    tokens = int(number_in(path, line, "prompt_tokens", 1, whole=True))
    pieces = row.get("prompt")
    if pieces is None:
        return (Segment(f"line/{number}", tokens),)
    is_shaped = isinstance(pieces, list) and all(
        isinstance(piece, list)
        and len(piece) == 2
        and isinstance(piece[0], str)
        and type(piece[1]) is int
        and piece[1] >= 1
        for piece in pieces
    )
    if not is_shaped or sum(piece[1] for piece in pieces) != tokens:
        raise InvalidLog(
            path, f"prompt must be pieces [key, tokens] of {tokens} tokens in all", number
        )
    return tuple(Segment(key, size) for key, size in pieces)
