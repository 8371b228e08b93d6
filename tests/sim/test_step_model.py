"""How a step is priced."""

from math import inf, nan

import pytest

from headway_sim.errors import InvalidEngineConfig
from headway_sim.step_model import Dilated, FourTerm, Phased

MODEL = FourTerm(
    alpha_ms=10.0,
    beta_ms_per_prefill_token=0.02,
    gamma_ms_per_sequence=0.5,
    delta_ms_per_kv_token=0.001,
    host_ms=0.8,
)


def test_the_four_terms_and_the_host_add_up() -> None:
    # 10 + 0.02 * (100 + 50) + 0.5 * 4 + 0.001 * 3000 + 0.8 ms
    assert MODEL.step([(100, 0), (50, 512)], 4, 3000) == pytest.approx(0.0188)


def test_an_empty_step_costs_the_constants() -> None:
    assert MODEL.step([], 0, 0) == pytest.approx(0.0108)


@pytest.mark.parametrize("value", [-0.1, nan, inf])
def test_a_coefficient_must_be_a_finite_cost(value: float) -> None:
    with pytest.raises(InvalidEngineConfig, match="beta_ms_per_prefill_token must be finite"):
        FourTerm(
            alpha_ms=1,
            beta_ms_per_prefill_token=value,
            gamma_ms_per_sequence=0,
            delta_ms_per_kv_token=0,
        )


def test_dilation_stretches_every_step() -> None:
    assert Dilated(MODEL, 3.0).step([(100, 0)], 0, 0) == pytest.approx(0.0384)
    assert Dilated(Dilated(MODEL, 2.0), 0.5).step([], 0, 0) == pytest.approx(0.0108)


@pytest.mark.parametrize("factor", [0.0, -1.0, nan, inf])
def test_time_can_be_stretched_but_neither_stopped_nor_turned(factor: float) -> None:
    with pytest.raises(InvalidEngineConfig, match="factor must be finite and > 0"):
        Dilated(MODEL, factor)


def test_decodes_lie_on_a_line() -> None:
    assert MODEL.decode_line(4, 77) == pytest.approx((0.0128, 1e-6, inf))
    assert Dilated(MODEL, 2.0).decode_line(4, 77) == pytest.approx((0.0256, 2e-6, inf))


def test_phases_are_paid_apart_and_both_where_they_mix() -> None:
    model = Phased(
        prefill_ms=4.0,
        ms_per_prefill_token=0.16,
        ms_per_token_before=0.003,
        decode_ms=19.0,
        ms_per_kv_token=0.001,
    )
    prefill_s = 1e-3 * (4 + 0.16 * 150 + 0.003 * 512)
    decode_s = 1e-3 * (19 + 0.001 * 3000)
    assert model.step([(100, 0), (50, 512)], 0, 0) == pytest.approx(prefill_s)
    assert model.step([], 4, 3000) == pytest.approx(decode_s)
    assert model.step([(100, 0), (50, 512)], 4, 3000) == pytest.approx(prefill_s + decode_s)
    line = model.decode_line(4, 3000)
    assert line.base_s + line.per_kv_token_s * 5000 == pytest.approx(model.step([], 4, 5000))
