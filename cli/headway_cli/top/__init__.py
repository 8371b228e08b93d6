"""``headway top``: pools, engines, queues and hit shares of running routers, as they change."""

from headway_cli.top.command import main

__all__ = ["main"]
