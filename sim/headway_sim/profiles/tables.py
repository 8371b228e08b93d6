"""A compiled profile: what the steps of one deployment cost, as small tables.

All costs are in milliseconds and of the whole model on each of its GPUs.  A file is a ``.npz``
whose entry ``about`` is JSON: what it is of, and where every number comes from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from headway_sim.errors import InvalidProfile, UnknownName
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.models import WeightDtype

Floats = npt.NDArray[np.float64]


class Rung(StrEnum):
    """How step times are known; every rung is a fallback of the one before."""

    TABLES = "operator-tables"
    """Measured operators of this GPU."""
    SCALED = "scaled-tables"
    """Measured operators of another GPU, by the ratio of the two rooflines."""
    FOUR_TERM = "four-term"
    """A linear fit to operator tables."""
    ROOFLINE = "roofline"
    """Peaks only: a lower bound, not validated."""
    MEASURED = "measured"
    """A linear fit to this very engine."""
    GIVEN = "given"
    """By the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Provenance."""

    deployment: Deployment
    rung: Rung
    tables_version: str | None
    """vLLM's, of the GEMM table.  None: no table was read."""
    source: str
    licence: str
    tables: Mapping[str, str]
    """Operator -> "version sha256"."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTables:
    """Arrays are float32 in the file.  Two are equal if they are one."""

    about: About
    tokens: Floats
    """[M] of a batch."""
    gemm_ms: Floats
    """[M] linear layers, or experts."""
    elementwise_ms: Floats
    """[M] norms, activations, residuals, and launching them."""
    communication_ms: Floats
    """[M]"""
    context_batches: Floats
    context_tokens: Floats
    context_ms: Floats
    """[batch, prompt tokens]"""
    decode_batches: Floats
    decode_kv_tokens: Floats
    """Of each request."""
    decode_ms: Floats
    """[batch, KV tokens]"""
    sampled: Floats
    sampler_ms: Floats
    """[S] the head of the model."""

    def write(self, path: Path) -> None:
        about = asdict(self.about)
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about, sort_keys=True)), **arrays)


_ARRAYS = tuple(field.name for field in fields(StepTables) if field.name != "about")


def read(path: Path) -> StepTables:
    """Raises: InvalidProfile: naming the file and what is wrong with it."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = _about(json.loads(str(stored["about"])))
            arrays = {name: stored[name].astype(np.float64) for name in _ARRAYS}
    except FileNotFoundError:
        raise InvalidProfile(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, UnknownName) as error:
        raise InvalidProfile(f"{path} is not a profile: {error}") from error
    for costs, *axes in _AXES:
        if arrays[costs].shape != tuple(len(arrays[axis]) for axis in axes):
            raise InvalidProfile(f"{path}: {costs} does not have the shape of {' x '.join(axes)}")
        if not (np.isfinite(arrays[costs]).all() and (arrays[costs] >= 0).all()):
            raise InvalidProfile(f"{path}: {costs} must be finite and >= 0")
        for axis in axes:
            if len(arrays[axis]) < 2 or not (np.diff(arrays[axis]) > 0).all():
                raise InvalidProfile(f"{path}: {axis} must have two or more values, rising")
    return StepTables(about=about, **arrays)


_AXES = (
    ("gemm_ms", "tokens"),
    ("elementwise_ms", "tokens"),
    ("communication_ms", "tokens"),
    ("context_ms", "context_batches", "context_tokens"),
    ("decode_ms", "decode_batches", "decode_kv_tokens"),
    ("sampler_ms", "sampled"),
)


def _about(stored: dict[str, Any]) -> About:
    of = stored.pop("deployment")
    of["dtype"] = WeightDtype(of["dtype"])
    return About(
        deployment=Deployment(**of),
        rung=Rung(stored.pop("rung")),
        notes=tuple(stored.pop("notes")),
        **stored,
    )
