"""Fits the constants of host and API to measured runs, by least squares on relative errors.

TPOT is the length of a step, so what the tables leave of it is the host's; TTFT is a few steps and
the API.  Two fits, one after the other, each linear:

    tpot - tpot of tables = layer_ms * layers (+ step_ms, if models are of several depths)
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
START = Constants(layer_ms=0.8 / 64, api_ms=8.0)
"""0.8 ms a step for a model of 64 layers: where predictions begin."""

Predict = Callable[[MeasuredRun, Constants], Sequence[Replayed]]


def fit(runs: Sequence[MeasuredRun], predict: Predict, source: str) -> Constants:
    """Raises: InvalidProfile: there is nothing to fit to."""
    if not runs:
        raise InvalidProfile("there are no runs to fit to")
    constants = START
    for _ in range(PASSES):
        replayed = [(run, stage) for run in runs for stage in predict(run, constants)]
        constants = _host(replayed, constants)
    # The host of the last pass is a little off from the one that was replayed: by less than noise.
    return replace(_api(replayed, constants), source=source)


_Stages = Sequence[tuple[MeasuredRun, Replayed]]


def _host(replayed: _Stages, constants: Constants) -> Constants:
    layers = [run.deployment.shape.layers for run, _ in replayed]
    rows, left, scale = [], [], []
    for (_, stage), depth in zip(replayed, layers, strict=True):
        measured_ms = 1e3 * stage.stage.measured["tpot_mean_s"]
        predicted_ms = 1e3 * stage.metrics(constants)["tpot_mean_s"]
        fitted_ms = constants.theta_host * (constants.step_ms + constants.layer_ms * depth)
        rows.append([float(depth), 1.0 if len(set(layers)) > 1 else 0.0])
        left.append(measured_ms - predicted_ms + fitted_ms)
        scale.append(measured_ms)
    weights = constants.theta_host / np.array(scale)
    found = nonnegative(np.array(rows) * weights[:, None], np.array(left) / np.array(scale))
    return replace(constants, layer_ms=float(found[0]), step_ms=float(found[1]))


def _api(replayed: _Stages, constants: Constants) -> Constants:
    timed = [
        stage for run, stage in replayed if run.is_timed_by_client and not stage.stage.has_queued
    ]
    if not timed:
        return constants
    bare = replace(constants, api_ms=0.0)
    measured_ms = np.array([1e3 * stage.stage.measured["ttft_mean_s"] for stage in timed])
    left = measured_ms - [1e3 * stage.metrics(bare)["ttft_mean_s"] for stage in timed]
    found = nonnegative(1 / measured_ms[:, None], left / measured_ms)
    return replace(constants, api_ms=float(found[0]))
