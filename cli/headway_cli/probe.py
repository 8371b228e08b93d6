"""``headway probe``: asks servers until each of them says yes; ``helm test`` runs it."""

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

RETRY_S = 0.5
_ONE_TRY_S = 5.0


def main(arguments: list[str]) -> int:
    """0: all of them said yes.  1: one did not in time.  2: a target cannot be read."""
    options = _parser().parse_args(arguments)
    deadline_s = time.monotonic() + options.timeout_s
    for target in options.targets:
        ask = _question(target)
        if ask is None:
            print(f"headway probe: {target!r} is no http:// or grpc:// target", file=sys.stderr)
            return 2
        while problem := ask():
            if time.monotonic() + RETRY_S > deadline_s:
                print(f"headway probe: {target}: {problem}", file=sys.stderr)
                return 1
            time.sleep(RETRY_S)
        print(f"{target}: ok")
    return 0


def _question(target: str) -> Callable[[], str] | None:
    """What asks once: the problem, or nothing.  None: no such target."""
    parts = urlsplit(target)
    if parts.scheme == "http" and parts.netloc:
        return partial(_http, target)
    if parts.scheme == "grpc" and parts.netloc:
        return partial(_grpc, parts.netloc, parts.path.removeprefix("/"))
    return None


def _http(url: str) -> str:
    # Where one is asked for, a proxy would answer for it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=_ONE_TRY_S).close()
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read(300).decode(errors='replace')}"
    except OSError as error:
        return str(error)
    return ""


def _grpc(address: str, service: str) -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            status = stub.Check(request, timeout=_ONE_TRY_S).status
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    serving = health_pb2.HealthCheckResponse.SERVING
    return "" if status == serving else health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway probe", description="Ask servers until each of them says yes."
    )
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="http://HOST:PORT/PATH: answers with success; grpc://HOST:PORT/SERVICE: that service"
        " of grpc.health.v1 serves",
    )
    parser.add_argument(
        "--timeout-s", type=float, default=30.0, metavar="S", help="for all of them (default: 30)"
    )
    return parser
