"""``headway engine``: a vLLM-compatible HTTP server around the engine model.

Flags have vLLM's names where vLLM has them.  Those that only matter to a real accelerator are
accepted and ignored; any other unknown flag is an error.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import fields

from headway_engine.app import Addresses, serve
from headway_engine.errors import CannotListen, SettingsInvalid
from headway_engine.settings import DEFAULT_PROFILE, Flags, resolve

IGNORED_WITH_VALUE = (
    "--dtype",
    "--load-format",
    "--gpu-memory-utilization",
    "--tensor-parallel-size",
    "--distributed-executor-backend",
    "--max-lora-rank",
    "--max-cpu-loras",
    "--kv-cache-dtype",
    "--kv-cache-metrics-sample",
    "--seed",
    "--uvicorn-log-level",
)
IGNORED_SWITCHES = (
    "--enforce-eager",
    "--trust-remote-code",
    "--disable-log-stats",
    "--disable-uvicorn-access-log",
    "--enable-chunked-prefill",
    "--no-enable-log-requests",
)
"""What a deployment may pass to a real server and what changes nothing here."""


def main(arguments: list[str]) -> int:
    namespace = vars(parser().parse_args(arguments))
    flags = Flags(**{field.name: namespace[field.name] for field in fields(Flags)})
    try:
        return asyncio.run(serve(resolve(flags, os.environ), _print_ready(flags)))
    except SettingsInvalid as error:
        print(f"headway engine: {error}", file=sys.stderr)
        return 2
    except CannotListen as error:
        print(f"headway engine: {error}", file=sys.stderr)
        return 1


def _print_ready(flags: Flags) -> Callable[[Addresses], None]:
    def ready(addresses: Addresses) -> None:
        name = (flags.served_model_name or [flags.model])[0]
        control = addresses.control_port
        suffix = "" if control is None else f", control on http://127.0.0.1:{control}"
        print(
            f"headway engine: {name} on http://{addresses.host}:{addresses.port}{suffix}",
            flush=True,
        )

    return ready


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway engine",
        usage="%(prog)s [OPTIONS]",
        description=__doc__,
        allow_abbrev=False,
    )
    _add_server(parser)
    _add_engine(parser)
    _add_answers(parser)
    ignored = parser.add_argument_group("accepted and ignored: they matter to an accelerator only")
    for flag in IGNORED_WITH_VALUE:
        ignored.add_argument(flag, dest=f"ignored {flag}", metavar="VALUE")
    for flag in IGNORED_SWITCHES:
        ignored.add_argument(flag, dest=f"ignored {flag}", action="store_true")
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1")
    group.add_argument("--port", type=int, default=8000, help="0: any free one, printed")
    group.add_argument("--control-port", type=int, help="fault hooks on 127.0.0.1; 0: any free one")
    group.add_argument("--shutdown-timeout", type=float, default=0.0, help="seconds; 0: abort")
    group.add_argument("--max-num-queued-reqs", type=int, help="503 above so many in flight")
    group.add_argument("--kv-events-config", metavar="JSON")
    group.add_argument("--kv-cache-metrics", action=argparse.BooleanOptionalAction, default=False)
    for flag in ("--enable-request-id-headers", "--enable-server-load-tracking"):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=False)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument("--model", default="tiny", help="a folder with tokenizer.json, or a name")
    group.add_argument("--tokenizer", help="bytes4 (built in) or a folder; default: the model's")
    group.add_argument("--served-model-name", nargs="+", metavar="NAME")
    group.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        help=f"speed and size (default: {DEFAULT_PROFILE}); `headway profile list` names them",
    )
    group.add_argument("--dilation", type=float, default=1.0, help="wall seconds per engine second")
    for flag in (
        "--max-model-len",
        "--block-size",
        "--num-gpu-blocks-override",
        "--max-num-seqs",
        "--max-num-batched-tokens",
    ):
        group.add_argument(flag, type=int, help="default: the profile's")
    group.add_argument("--scheduling-policy", choices=("fcfs", "priority"), default="fcfs")
    for flag in ("--enable-prefix-caching", "--async-scheduling"):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=True)
    group.add_argument("--prefix-caching-hash-algo", default="sha256")
    group.add_argument("--enable-lora", action=argparse.BooleanOptionalAction, default=False)
    group.add_argument("--max-loras", type=int, default=1)
    group.add_argument("--lora-modules", nargs="+", default=(), metavar="NAME=PATH")


def _add_answers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("answers")
    group.add_argument(
        "--output-tokens",
        type=int,
        default=1024,
        help="mean length after which the model ends an answer by itself",
    )
    group.add_argument(
        "--stream-interval", type=int, default=1, help="tokens per chunk after the first"
    )
    for flag in (
        "--enable-prompt-tokens-details",
        "--enable-per-request-metrics",
        "--enable-force-include-usage",
    ):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=False)
