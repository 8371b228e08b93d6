"""``headway profile``: step times of engines."""

from headway_cli.profile.command import main

__all__ = ["main"]
