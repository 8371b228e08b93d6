"""Fits the constants of host and API to measured runs, by least squares on relative errors.

TPOT is the length of a step, so what the tables leave of it is the host's; TTFT is a few steps and
the API.  Two fits, one after the other, each linear:

    tpot - tpot of tables = step_ms
    ttft - ttft of tables and host = api_ms

``step_ms_per_sequence`` and the thetas stay as they are: stages of a run cannot tell them from a
table that is off (`calibrate` fits them to logs of steps).  Longer steps meet each other more, so
predictions are renewed with the new constants, ``PASSES`` times.  Stages that queued say nothing of
the API, as their TTFT is mostly the queue's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from headway_sim.errors import InvalidProfile
from headway_sim.profiles.constants import Constants
from headway_sim.profiles.least_squares import nonnegative
from headway_sim.validation.replay import Replayed
from headway_sim.validation.run import MeasuredRun

PASSES = 2
START = Constants(step_ms=0.8, api_ms=8.0)
"""Where predictions begin."""

Predict = Callable[[MeasuredRun, Constants], Sequence[Replayed]]


def fit(runs: Sequence[MeasuredRun], predict: Predict, source: str) -> Constants:
    """Raises: InvalidProfile: there is nothing to fit to."""
    if not runs:
        raise InvalidProfile("there are no runs to fit to")
    constants = START
    for _ in range(PASSES):
        replayed = [stage for run in runs for stage in predict(run, constants)]
        constants = _host(replayed, constants)
    # The host of the last pass is a little off from the one that was replayed: by less than noise.
    return replace(_api(replayed, constants), source=source)


def _host(replayed: Sequence[Replayed], constants: Constants) -> Constants:
    measured_ms = np.array([1e3 * stage.stage.measured["tpot_mean_s"] for stage in replayed])
    predicted_ms = np.array([1e3 * stage.metrics(constants)["tpot_mean_s"] for stage in replayed])
    left = measured_ms - predicted_ms + constants.step_ms
    found = nonnegative(1 / measured_ms[:, None], left / measured_ms)
    return replace(constants, step_ms=float(found[0]))


def _api(replayed: Sequence[Replayed], constants: Constants) -> Constants:
    timed = [s for s in replayed if s.is_timed_by_client and not s.stage.has_queued]
    if not timed:
        return constants
    bare = replace(constants, api_ms=0.0)
    measured_ms = np.array([1e3 * stage.stage.measured["ttft_mean_s"] for stage in timed])
    left = measured_ms - [1e3 * stage.metrics(bare)["ttft_mean_s"] for stage in timed]
    found = nonnegative(1 / measured_ms[:, None], left / measured_ms)
    return replace(constants, api_ms=float(found[0]))
