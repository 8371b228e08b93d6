"""The Envoy of the Helm chart.  Its files hold words that the chart replaces, and are written by
``python -m headway_router.envoy.for_chart helm/headway/files/envoy``.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from headway_router.envoy import Gateway, RouterTls, bootstrap

ROUTER_HOST = "ROUTER-HOST"
"""Stands for the DNS name of the routers' Service, which is also in their certificate."""
CA_FILE = "/etc/headway/tls/ca.crt"
PORT = 8080


def files() -> Iterator[tuple[str, str]]:
    """Name and text of each."""
    for name, tls in (
        ("plain", None),
        ("tls", RouterTls(ca_file=CA_FILE, server_name=ROUTER_HOST)),
    ):
        gateway = Gateway(
            pools=(),
            routers=(f"{ROUTER_HOST}:9002",),
            router_tls=tls,
            listener=f"0.0.0.0:{PORT}",
            admin="127.0.0.1:9901",
        )
        yield f"{name}.json", json.dumps(bootstrap(gateway), indent=2) + "\n"


def main(folder: Path) -> None:
    for name, text in files():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
