"""Least squares with coefficients that cannot be negative."""

from itertools import combinations

import numpy as np

from headway_sim.profiles.tables import Floats


def nonnegative(columns: Floats, wanted: Floats) -> Floats:
    """The x >= 0 that minimises ``|columns @ x - wanted|``; columns is [rows, few].

    Exact: every subset of columns is solved for, and the best solution without a negative
    coefficient is taken.  A column of zeros gets 0.
    """
    count = columns.shape[1]
    best, least = np.zeros(count), float((wanted**2).sum())
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = columns[:, chosen]
            found, _, rank, _ = np.linalg.lstsq(part, wanted, rcond=None)
            if rank < size or (found < 0).any():
                continue
            error = float(((part @ found - wanted) ** 2).sum())
            if error < least * (1 - 1e-12):
                least = error
                best = np.zeros(count)
                best[list(chosen)] = found
    return best
