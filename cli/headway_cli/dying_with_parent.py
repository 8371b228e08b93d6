"""What a child process does before it becomes its program."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def dying_with_parent(last: signal.Signals) -> Callable[[], None]:
    """For ``preexec_fn``: when its parent dies the child gets ``last``, where the kernel can do so.

    It heeds SIGINT even where the parent was started in the background of a script, which makes a
    shell ignore that signal, and a process inherits it.
    """
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, last)

    return prepare
