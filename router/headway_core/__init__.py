"""All routing decisions, pure: no clock, no I/O, no event loop.  Start reading at ``router``."""
