"""The table of accelerators is what its source says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headway_api.accelerators import FAMILIES

FITS = "perf/step_coeffs_from_aic_tables.json"


def test_relative_prefill_rates_are_those_of_the_fits(shared_file: Callable[[str], Path]) -> None:
    fits = json.loads(shared_file(FITS).read_text())
    slopes = {
        key.partition("|")[0]: fit["beta_ms_per_prefill_tok"]
        for key, fit in fits.items()
        if "|llama3.1-8b|tp1|bf16|" in key
    }
    assert len(slopes) == len(FAMILIES)
    for name, known in FAMILIES.items():
        [slope] = [s for key, s in slopes.items() if key.startswith(name.replace("-", "_"))]
        assert known.prefill_ms_per_token == pytest.approx(slope, rel=0.005)
