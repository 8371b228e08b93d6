"""``headway``: one command; each subcommand imports its program only when it runs."""

import sys
from importlib import import_module

SUBCOMMANDS = {
    "bench": "how fast the simulator is on this machine",
    "compare": "policies against each other in simulated time, over rates and seeds",
    "crds": "generate the CustomResourceDefinitions, or check that files are up to date",
    "demo": "route a workload through Envoy, the router and simulated engines, on this machine",
    "engine": "a vLLM-compatible server around the engine model",
    "explain": "what the router would do with a request, and why; nothing is sent or reserved",
    "operator": "keep the workloads of ModelPools in a Kubernetes cluster",
    "probe": "ask servers over HTTP or gRPC health until each of them says yes",
    "profile": "step times of engines: compile, calibrate, check against measured runs",
    "router": "the endpoint picker: an Envoy external processor",
    "simulate": "run the router core or a baseline against simulated engines, in simulated time",
    "top": "pools, engines, queues and hit shares of running routers, as they change",
    "validate": "check a folder of ModelPool and RoutingPolicy documents",
}
"""Subcommand -> its line of help.  ``headway_cli.<name>`` has ``main(arguments) -> exit code``."""


def main() -> None:
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: headway COMMAND [OPTIONS]\n")
        for command, line in sorted(SUBCOMMANDS.items()):
            print(f"  {command:<10} {line}")
        print("\n`headway COMMAND --help` lists the options of a command.")
        raise SystemExit(0)
    if name not in SUBCOMMANDS:
        print(
            f"headway: no command {name!r}; one of {', '.join(sorted(SUBCOMMANDS))}",
            file=sys.stderr,
        )
        raise SystemExit(2)
    raise SystemExit(import_module(f"headway_cli.{name}").main(arguments))


if __name__ == "__main__":
    main()
