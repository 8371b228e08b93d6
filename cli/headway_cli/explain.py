"""``headway explain REQUEST.json``: where a request would go, and why.  Nothing is reserved."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import headway_api
from headway_api import InvalidDocuments
from headway_core.router import Router
from headway_router.config_folder import scan
from headway_router.explaining import Explainer
from headway_router.openai.intake import MAX_BODY_BYTES
from headway_router.openai.ratios import TokenRatios

TIMEOUT_S = 10.0
_PATHS = {
    "messages": "/v1/chat/completions",
    "prompt": "/v1/completions",
    "input": "/v1/responses",
}
"""By the field that only their requests have."""


class CannotAsk(Exception):
    """The message says why there is no explanation."""


def main(arguments: list[str]) -> int:
    """0: explained.  1: the router would refuse it as malformed.  2: nobody can be asked."""
    given = _parser().parse_args(arguments)
    try:
        body = sys.stdin.buffer.read() if given.request == "-" else Path(given.request).read_bytes()
        path = given.path or _path_of(body)
        headers = dict(given.header)
        if given.router is not None:
            status, text = _ask_router(given.router, path, headers, body)
        else:
            status, text = _ask_core(given.config, path, headers, body)
    except (CannotAsk, OSError, InvalidDocuments) as error:
        print(f"headway explain: {error}", file=sys.stderr)
        return 2
    if given.json or status != HTTPStatus.OK:
        print(text.decode().rstrip())
    else:
        for line in lines(json.loads(text)):
            print(line)
    return 0 if status == HTTPStatus.OK else 1


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """The explanation in words and a table, in milliseconds."""
    explanation = answer["explanation"]
    decision = explanation["decision"]
    tokens, blocks = answer["prompt_tokens"], answer["blocks"]
    yield f"model {answer['requested_model']}: about {tokens} prompt tokens in {blocks} full blocks"
    yield _verdict(explanation)
    if decision is None:
        return
    yield f"pool {decision['pool']}, policy {decision['policy_hash']}"
    terms = list(decision["candidates"][0]["seconds_by_term"])
    rows = [["", "endpoint", *(f"{term} ms" for term in terms), "TTFT ms", "hit tokens", "P(SLO)"]]
    for candidate in decision["candidates"]:
        is_chosen = candidate["endpoint_id"] == decision["endpoint_id"]
        seconds = [*candidate["seconds_by_term"].values(), candidate["ttft_s"]]
        probability = candidate["slo_probability"]
        rows.append(
            [
                "*" if is_chosen else "",
                candidate["endpoint_id"],
                *(f"{1000 * one:.1f}" for one in seconds),
                str(candidate["hit_tokens"]),
                "-" if probability is None else f"{probability:.2f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        mark, name, *numbers = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join([mark, name, *numbers]).rstrip()


def _verdict(explanation: Mapping[str, Any]) -> str:
    decision = explanation["decision"]
    match explanation["course"]:
        case "shed":
            retry_s = explanation["retry_after_s"]
            later = "" if retry_s is None else f", to be tried again in {retry_s:.1f} s"
            return f"would be refused: {explanation['shed_reason']}{later}"
        case "hold":
            said = f"would wait in the router for {decision['endpoint_id']}"
        case _:
            said = f"would go to {decision['endpoint_id']}"
    fallback_id = explanation["fallback_id"]
    retry = "" if fallback_id is None else f"; if that refuses, to {fallback_id}"
    return f"{said} ({decision['reason']}){retry}"


def _ask_core(
    folder: Path, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """A core that knows the configuration, and of no load and no cache."""
    if not folder.is_dir():
        raise CannotAsk(f"no such folder: {folder}")
    core = Router(Random(0))
    core.apply(headway_api.compile(scan(folder).documents()), 0.0)
    explainer = Explainer(core, lambda: 0.0, TokenRatios(), max_body_bytes=MAX_BODY_BYTES)
    return explainer.answer(path, headers, body)


def _ask_router(
    address: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    given = {"content-type": "application/json", **headers}
    request = Request(f"http://{address}/explain{path}", body, given, method="POST")
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except URLError as error:
        raise CannotAsk(f"no router's debug port at {address}: {error.reason}") from None


def _path_of(body: bytes) -> str:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise CannotAsk(f"the request is not JSON: {error}") from None
    known = [path for field, path in _PATHS.items() if isinstance(fields, dict) and field in fields]
    if len(known) != 1:
        raise CannotAsk(f"give its --path: the request has not just one of {', '.join(_PATHS)}")
    return known[0]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME: VALUE")
    return name.strip().lower(), value.strip()


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with /")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway explain",
        description="Where a request would go, and why.  Nothing is sent or reserved.",
    )
    parser.add_argument("request", metavar="REQUEST.json", help="its body; - reads standard input")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--config", type=Path, metavar="DIR", help="ask a fresh router: no load, empty caches"
    )
    asked.add_argument(
        "--router", metavar="ADDR", help="ask a running one: its debug port, 127.0.0.1:9091"
    )
    parser.add_argument(
        "--path", type=_path, help="what it is posted to; default: by the body's fields"
    )
    parser.add_argument(
        "--header", type=_header, action="append", default=[], metavar="'NAME: VALUE'"
    )
    parser.add_argument("--json", action="store_true", help="all there is, as JSON")
    return parser
