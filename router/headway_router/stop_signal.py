"""The signal that tells the process to end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signal() -> Iterator[asyncio.Future[signal.Signals]]:
    """The first SIGTERM or SIGINT.  From then on they have their default effect again."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def restore() -> None:
        for one in _STOP_SIGNALS:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)

    def stop(received: signal.Signals) -> None:
        restore()
        stopped.set_result(received)

    for one in _STOP_SIGNALS:
        loop.add_signal_handler(one, stop, one)
    try:
        yield stopped
    finally:
        restore()
