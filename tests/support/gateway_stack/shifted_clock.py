"""A program of ours whose wall clock can be put forward and back by an hour while it runs.

    python shifted_clock.py router --config DIR

SIGUSR1 puts it forward, SIGUSR2 back.  Only what reads ``time.time`` sees it, which is all of ours.
"""

import runpy
import signal
import sys
import time

HOUR_S = 3600.0

_shift_s = 0.0
_true_time = time.time


def _shifted() -> float:
    return _true_time() + _shift_s


def _shift(received: int, _frame: object) -> None:
    global _shift_s
    _shift_s += HOUR_S if received == signal.SIGUSR1 else -HOUR_S


if __name__ == "__main__":
    time.time = _shifted
    signal.signal(signal.SIGUSR1, _shift)
    signal.signal(signal.SIGUSR2, _shift)
    sys.path[0] = ""
    runpy.run_module("headway_cli", run_name="__main__", alter_sys=True)
