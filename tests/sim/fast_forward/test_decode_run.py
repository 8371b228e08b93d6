"""Many steps at once against one after the other."""

from random import Random

import pytest

from headway_sim.fast_forward.decode_run import DecodeRun
from headway_sim.step_model import DecodeLine


@pytest.mark.parametrize("slope_s", [0.0, 4.5e-8, 3e-6, -4e-9], ids="{:+.1e} s per token".format)
def test_length_and_number_are_those_of_the_steps(slope_s: float) -> None:
    rng = Random(str(slope_s))
    for _ in range(50):
        decodes, kv_tokens = rng.randint(1, 64), rng.randint(1, 50_000)
        run = DecodeRun(DecodeLine(0.02, slope_s), decodes, kv_tokens)
        steps = rng.randint(1, 400)
        ends_fs = [0.0]
        for step in range(steps):
            kv = kv_tokens + step * decodes
            ends_fs.append(ends_fs[-1] + 1e15 * (0.02 + slope_s * kv))
        assert abs(run.length_fs(steps) - ends_fs[-1]) < 1e4
        limit_fs = round(rng.uniform(-0.1, 1.1) * ends_fs[-1])
        expected = sum(end < limit_fs for end in ends_fs[1:])
        assert run.steps_before(limit_fs, steps) == expected


def test_it_ends_where_its_line_ends() -> None:
    assert DecodeRun(DecodeLine(0.01, 1e-8, 1000.0), 10, 905).steps == 10
    assert DecodeRun(DecodeLine(0.01, 1e-8, 1000.0), 10, 900).steps == 10
    assert DecodeRun(DecodeLine(0.01, 1e-8, 1000.0), 10, 899).steps == 11
