"""``headway compare``: policies against each other, on the same requests, over rates and seeds."""

from headway_cli.compare.command import main

__all__ = ["main"]
