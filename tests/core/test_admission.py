"""Whether a request may go, must wait, or is refused."""

import pytest

from headway_core.admission import WINDOW_BATCHES, fits, is_hopeless, retry_after_s
from headway_core.choice import Prospect
from headway_core.estimate.work import NO_WORK, Work
from headway_core.facts import Capacity
from headway_core.ledger import Load
from headway_core.outcomes import Candidate

CAPACITY = Capacity(batch_tokens=1000)


def a_load(*tokens: int) -> Load:
    works = {i: Work(t, 0) for i, t in enumerate(tokens)}
    return Load(leases=len(tokens), unprefilled=works, work=Work(sum(tokens), 0))


def prospects(*ttft_s: float) -> list[Prospect]:
    return [
        Prospect(Candidate(f"e{i}", {}, s, 0, None), NO_WORK, 0, 0.0, False, 0.0, 0.0)
        for i, s in enumerate(ttft_s)
    ]


@pytest.mark.parametrize(
    ("waiting", "tokens", "foreign", "goes"),
    [
        pytest.param([], 1_000_000, 0, True, id="an idle engine takes any prompt"),
        pytest.param([], 1_000_000, 9, True, id="also where others have theirs waiting"),
        pytest.param([1500], 500, 0, True, id="two batches keep the engine busy"),
        pytest.param([1500], 501, 0, False, id="more only moves the queue"),
        pytest.param([100], 100, 1, False, id="one of ours at a time where others wait"),
    ],
)
def test_the_window(waiting: list[int], tokens: int, foreign: int, goes: bool) -> None:
    assert WINDOW_BATCHES == 2
    assert fits(a_load(*waiting), tokens, CAPACITY, foreign) == goes


def test_hopeless_means_late_everywhere() -> None:
    assert is_hopeless(prospects(5.1, 6.0), 5.0)
    assert not is_hopeless(prospects(5.1, 5.0), 5.0)


def test_without_a_target_nothing_is_hopeless() -> None:
    assert not is_hopeless(prospects(1e9), None)


@pytest.mark.parametrize(
    ("ttft_s", "target_s", "retry_s"),
    [
        pytest.param([9.0, 8.0], 5.0, 3.0, id="when the quickest has drained enough"),
        pytest.param([5.1], 5.0, 1.0, id="but a second at least"),
        pytest.param([], None, 1.0, id="also where nobody is there"),
    ],
)
def test_when_to_come_back(ttft_s: list[float], target_s: float | None, retry_s: float) -> None:
    assert retry_after_s(prospects(*ttft_s), target_s) == retry_s
