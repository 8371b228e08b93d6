"""``--stay``: the fleet of the last arm goes on, and one is told what to try on it."""

import json

from rich.console import Console

from headway_cli.demo.arms import Running
from headway_cli.demo.fleet import MODEL


async def stay(arm: Running, console: Console) -> None:
    """Until cancelled.  Raises: ChildDied: in an exception group."""
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16}
    )
    lines = [f"gateway  {arm.envoy.url}", f"envoy    {arm.envoy.admin_url}"]
    if arm.router is not None:
        lines += [f"router   {arm.router.metrics_url}", f"state    {arm.router.debug_url}"]
    lines += [f"{name:<8} http://{address}" for name, address in arm.addresses.items()]
    lines += ["", "Try:", f"curl -i {arm.envoy.url}/v1/chat/completions \\"]
    lines += ["  -H 'content-type: application/json' \\", f"  -d '{body}'", ""]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    console.print("Ctrl-C ends everything.")
    await arm.children.watch()
