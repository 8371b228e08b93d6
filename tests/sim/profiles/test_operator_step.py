"""The step model from tables: what it adds up, pads and interpolates."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_sim.profiles import Constants, Rung, profile
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.operator_step import Mode, OperatorStep
from headway_sim.profiles.tables import About, StepTables

NO_HOST = Constants()

TABLES = StepTables(
    about=About(
        deployment=Deployment(gpu_name="H100", model_name="Llama-3.1-8B"),
        rung=Rung.TABLES,
        tables_version="0.24.0",
        source="made up",
        licence="none",
        tables={},
        notes=(),
    ),
    tokens=np.array([1.0, 8.0, 16.0, 1024.0]),
    gemm_ms=np.array([4.0, 4.0, 4.8, 100.0]),
    elementwise_ms=np.array([0.5, 0.5, 0.5, 0.5]),
    communication_ms=np.array([0.25, 0.25, 0.25, 0.25]),
    context_batches=np.array([1.0, 2.0, 4.0]),
    context_tokens=np.array([1.0, 100.0, 200.0]),
    context_ms=np.array([[0.1, 1.0, 4.0], [0.1, 2.0, 8.0], [0.1, 4.0, 16.0]]),
    decode_batches=np.array([1.0, 4.0]),
    decode_kv_tokens=np.array([2.0, 100.0, 200.0]),
    decode_ms=np.array([[0.1, 0.2, 0.4], [0.4, 0.8, 1.6]]),
    sampled=np.array([1.0, 2.0, 4.0]),
    sampler_ms=np.array([0.1, 0.1, 0.2]),
)

MODEL = OperatorStep(TABLES, NO_HOST, Mode(largest_graph=16))


def ms(model: OperatorStep, *batch: object) -> float:
    return 1000 * model.step(*batch)  # type: ignore[arg-type]


def test_a_decode_by_hand() -> None:
    # gemm 4.0 + elementwise 0.5 + communication 0.25 + attention 0.2 + sampler 0.1
    assert ms(MODEL, [], 1, 100) == pytest.approx(5.05)


def test_kv_tokens_are_those_of_all_decodes() -> None:
    # Four decodes of 150 each: halfway from 0.8 to 1.6, padded to the graph of 4 tokens.
    assert ms(MODEL, [], 4, 600) == pytest.approx(4.0 + 0.5 + 0.25 + 1.2 + 0.2)


def test_two_decodes_lie_between_one_and_four_by_a_power_law() -> None:
    # sqrt(0.2 * 0.8) at 100 tokens each
    assert ms(MODEL, [], 2, 200) == pytest.approx(4.0 + 0.5 + 0.25 + 0.4 + 0.1)


def test_small_batches_are_padded_to_the_next_graph_and_large_ones_are_not() -> None:
    gemm = {n: ms(MODEL, [(n, 0)], 0, 0) - ms(MODEL, [(16, 0)], 0, 0) for n in (9, 12, 16)}
    context = {n: MODEL.step([(n, 84 - n)], 0, 0) for n in (9, 12, 16)}
    assert gemm[9] < gemm[12] < gemm[16] == 0  # attention alone tells them apart
    assert len({round(1e3 * s, 6) for s in context.values()}) == 3
    no_attention = MODEL.with_constants(replace(NO_HOST, theta_attention=1e-12))
    flat = {round(ms(no_attention, [(n, 0)], 0, 0), 6) for n in range(9, 17)}
    assert len(flat) == 1
    rising = [ms(no_attention, [(n, 0)], 0, 0) for n in range(17, 40)]
    assert all(a < b for a, b in pairwise(rising))


def test_graphs_end_where_the_engine_says() -> None:
    wide = OperatorStep(TABLES, NO_HOST, Mode(largest_graph=64))
    assert ms(wide, [(33, 0)], 0, 0) > ms(MODEL, [(33, 0)], 0, 0)  # padded to 40


def test_a_prompt_by_hand() -> None:
    # 100 tokens: gemm linear between 16 and 1024, context 1.0, one sampled
    gemm = 4.8 + (100.0 - 4.8) * 84 / 1008
    assert ms(MODEL, [(100, 0)], 0, 0) == pytest.approx(gemm + 0.5 + 0.25 + 1.0 + 0.1)


def test_a_chunk_costs_what_it_adds_to_the_square() -> None:
    late = ms(MODEL, [(16, 84)], 0, 0)
    rest = ms(MODEL.with_constants(replace(NO_HOST, theta_attention=1e-12)), [(16, 0)], 0, 0)
    assert late - rest == pytest.approx(1.0 * (1 - 0.84**2))


def test_equal_prompts_are_one_launch() -> None:
    rest = ms(MODEL.with_constants(replace(NO_HOST, theta_attention=1e-12)), [(100, 0)] * 2, 0, 0)
    assert ms(MODEL, [(100, 0)] * 2, 0, 0) - rest == pytest.approx(2.0)
    # Beyond the table: batch 8 of 200 tokens is twice batch 4, 400 tokens are four times 200.
    rest = ms(MODEL.with_constants(replace(NO_HOST, theta_attention=1e-12)), [(400, 0)] * 8, 0, 0)
    assert ms(MODEL, [(400, 0)] * 8, 0, 0) - rest == pytest.approx(16.0 * 2 * 4)


def test_constants_add_up() -> None:
    constants = Constants(
        theta_gemm=2.0,
        theta_attention=3.0,
        theta_communication=4.0,
        theta_host=0.5,
        step_ms=1.0,
        step_ms_per_sequence=0.1,
    )
    host = 0.5 * (1.0 + 0.1)
    expected = 2 * (4.0 + 0.5 + 0.1) + 3 * 0.2 + 4 * 0.25 + host
    assert ms(MODEL.with_constants(constants), [], 1, 100) == pytest.approx(expected)


def test_an_older_engine_sorts_the_logits_of_models_that_sample_with_top_p() -> None:
    sorting = OperatorStep(TABLES, NO_HOST, Mode(largest_graph=16, sorts_logits=True))
    # 128,256 logits at 2.5 billion per second, for each of four sequences
    assert ms(sorting, [], 4, 600) - ms(MODEL, [], 4, 600) == pytest.approx(4 * 0.0513024)
    for name, sorts in (
        ("h100-llama-3.1-8b-tp1@0.15.1", True),
        ("h100-llama-3.1-8b-tp1@0.19.0", False),
        ("h100-llama-3.1-8b-tp1", False),
        ("h100-codellama-34b-tp2@0.15.1", False),
    ):
        found = profile(name).step_model
        assert isinstance(found, OperatorStep)
        assert found.mode.sorts_logits is sorts, name


REAL = profile("h100-llama-3.1-70b-tp4").step_model
SIZES = st.integers(1, 1024)


@given(SIZES, st.integers(1, 20_000), st.floats(0, 1))
def test_decodes_lie_on_the_line_as_far_as_it_goes(n: int, mean: int, share: float) -> None:
    kv = n * mean
    line = REAL.decode_line(n, kv)
    assert line.until_kv_tokens > kv
    end = kv + round(share * (min(line.until_kv_tokens, 2.0 * kv) - 1 - kv))
    end = max(kv, end)
    assert REAL.step([], n, end) == pytest.approx(
        line.base_s + line.per_kv_token_s * end, abs=1e-12
    )


@given(SIZES, st.integers(1, 20_000), st.integers(0, 1000))
def test_more_to_read_never_takes_less(n: int, mean: int, more: int) -> None:
    assert REAL.step([], n, n * mean + more) >= REAL.step([], n, n * mean) - 1e-12


@given(st.integers(1, 4000), st.integers(0, 8000), st.integers(0, 200), st.integers(0, 2000))
def test_a_step_takes_a_sane_time(new: int, done: int, n: int, mean: int) -> None:
    assert 0 < REAL.step([(new, done)], n, n * mean) < 10


def test_the_last_line_goes_on_for_ever() -> None:
    assert MODEL.decode_line(1, 10_000).until_kv_tokens == inf
    assert MODEL.decode_line(0, 0).until_kv_tokens == inf
