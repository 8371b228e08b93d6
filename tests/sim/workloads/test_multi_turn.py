"""Generated conversations: prefixes grow, popularity is unequal, a seed means one workload."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_sim.errors import InvalidWorkload
from headway_sim.workloads.multi_turn import MultiTurn, generate
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.workloads.text import BYTES_PER_TOKEN, prompt_text

SHAPE = MultiTurn(users=8)


def by_session(requests: tuple[WorkloadRequest, ...]) -> dict[str | None, list[WorkloadRequest]]:
    sessions = defaultdict(list)
    for request in requests:
        sessions[request.session].append(request)
    return sessions


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_prompt_begins_with_the_prompt_and_the_answer_of_the_turn_before(seed: int) -> None:
    for turns in by_session(generate(SHAPE, seed, 20.0)).values():
        assert [request.turn for request in turns] == list(range(1, len(turns) + 1))
        for before, after in pairwise(turns):
            assert after.at_s > before.at_s
            history = after.prompt[:-1]
            assert history[:-1] == before.prompt
            assert history[-1].tokens == before.output_tokens
            assert prompt_text(after).startswith(prompt_text(before))


def test_text_has_four_bytes_for_every_token() -> None:
    for request in generate(SHAPE, 1, 5.0):
        text = prompt_text(request)
        assert len(text.encode()) == BYTES_PER_TOKEN * request.prompt_tokens


def test_different_sessions_share_their_system_prompt_and_nothing_more() -> None:
    openings = [turns[0] for turns in by_session(generate(SHAPE, 1, 60.0)).values()]
    shared = Counter(request.prompt[0] for request in openings)
    questions = {prompt_text(request)[-1024:] for request in openings}
    assert len(shared) <= SHAPE.system_prompts
    assert len(questions) == len(openings)


def test_system_prompts_are_of_unequal_popularity() -> None:
    shape = MultiTurn(users=200, turns=(1, 1))
    counts = Counter(request.prompt[0].key for request in generate(shape, 3, 60.0))
    most, *_, least = (count for _, count in counts.most_common())
    # 1 / r: eight times as popular, but for the noise of some 3,000 draws.
    assert 5 < most / least < 12


def test_arrivals_are_ordered_and_end_with_the_duration() -> None:
    arrivals = [request.at_s for request in generate(SHAPE, 1, 30.0)]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] > 0 and arrivals[-1] < 30.0


def test_the_load_is_steady_from_the_first_seconds_on() -> None:
    shape = MultiTurn(users=200, think_s=4.0, read_s_per_token=0.02, output_tokens=(50, 50))
    per_s = [0] * 60
    for request in generate(shape, 4, 60.0):
        per_s[int(request.at_s)] += 1
    # 200 users, one turn each 4 + 50 * 0.02 s: 40 per second, but for Poisson noise.
    quarters = [sum(per_s[start : start + 15]) / 15 for start in range(0, 60, 15)]
    assert all(34 < quarter < 48 for quarter in quarters), quarters


def test_a_user_has_one_conversation_after_the_other() -> None:
    first, second = (
        turns
        for session, turns in by_session(generate(SHAPE, 1, 120.0)).items()
        if session in ("1/user-0/session-0", "1/user-0/session-1")
    )
    assert second[0].at_s > first[-1].at_s


def test_a_longer_workload_begins_with_the_shorter_one() -> None:
    longer = generate(SHAPE, 5, 40.0)
    assert tuple(r for r in longer if r.at_s < 20.0) == generate(SHAPE, 5, 20.0)


def test_another_seed_is_another_workload() -> None:
    assert generate(SHAPE, 1, 20.0) != generate(SHAPE, 2, 20.0)


def test_every_process_makes_the_same_workload_of_a_seed() -> None:
    program = (
        "import hashlib; from headway_sim.workloads.multi_turn import *;"
        "from headway_sim.workloads.text import prompt_text;"
        "r = generate(MultiTurn(users=8), 9, 20.0);"
        "print(hashlib.sha256((repr(r) + ''.join(map(prompt_text, r))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("users", 0),
        ("think_s", float("inf")),
        ("read_s_per_token", -1.0),
        ("popularity_exponent", -0.5),
        ("system_prompts", 0),
        ("turns", (0, 3)),
        ("output_tokens", (9, 3)),
    ],
)
def test_parameters_out_of_range_are_refused(field: str, value: object) -> None:
    values: dict[str, Any] = {"users": 1, field: value}
    with pytest.raises(InvalidWorkload, match=f"^{field} must be") as error:
        MultiTurn(**values)
    assert error.value.field == field
