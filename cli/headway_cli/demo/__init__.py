"""``headway demo``: the same requests through round robin and through Headway, side by side."""

from headway_cli.demo.command import main

__all__ = ["main"]
