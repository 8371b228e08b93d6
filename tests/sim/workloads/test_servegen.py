"""ServeGen's client profiles: rates and lengths come out, damage is named."""

import tarfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

import pytest

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.servegen import Client, generate, load

DATASET = """{"0": {"input_tokens": "{100: 0.25, 200: 0.75}", "output_tokens": "{7: 1.0}"},
"1200": {"input_tokens": "{9: 1}", "output_tokens": "{8: 0.5, 0: 0.5}", "reason_ratio": "{}"},
"1800": {"input_tokens": "{9: 0.0}", "output_tokens": "{8: 0.0}"}}"""
QUIET = "0,0,0,,0,0"


@pytest.fixture
def profiles(tmp_path: Path) -> Callable[..., Path]:
    def write(*traces: str, dataset: str = DATASET) -> Path:
        for number, trace in enumerate(traces):
            (tmp_path / f"chunk-{number}-trace.csv").write_text(trace + "\n")
            (tmp_path / f"chunk-{number}-dataset.json").write_text(dataset)
        return tmp_path

    return write


def test_rates_hold_window_by_window_whatever_the_pattern(profiles: Callable[..., Path]) -> None:
    rows = ["0,2,1,Gamma,0.5,99", "600,0,0,,0,0", "1200,4,1,Weibull,0.7,99", "1800,1,1,,0,0"]
    requests = list(generate(load(profiles("\n".join(rows))), seed=3, duration_s=2400.0))
    counts = Counter(int(request.at_s // 600) for request in requests)
    assert set(counts) == {0, 2, 3}
    for window, expected, cv in ((0, 1200, 2**0.5), (2, 2400, 1.47), (3, 600, 1.0)):
        assert counts[window] == pytest.approx(expected, abs=4 * cv * expected**0.5)


@pytest.mark.parametrize(
    ("pattern", "shape", "cv"), [("Gamma", 0.25, 2.0), ("Weibull", 0.5, 5**0.5), ("", 0.0, 1.0)]
)
def test_intervals_have_the_spread_of_their_pattern(
    pattern: str, shape: float, cv: float, profiles: Callable[..., Path]
) -> None:
    path = profiles(f"0,20,1,{pattern},{shape},1")
    at_s = [request.at_s for request in generate(load(path), 1, 600.0)]
    gaps = [b - a for a, b in pairwise(at_s)]
    assert len(gaps) > 9000
    assert stdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.15)


def test_lengths_are_of_the_window_or_of_the_last_one_that_has_any(
    profiles: Callable[..., Path],
) -> None:
    rows = [f"{start},1,1,,0,0" for start in (0, 600, 1200, 1800)]
    requests = list(generate(load(profiles("\n".join(rows))), seed=1, duration_s=2400.0))
    early = [r for r in requests if r.at_s < 1200]
    late = [r for r in requests if r.at_s >= 1200]
    assert {r.output_tokens for r in early} == {7}
    assert fmean(r.prompt_tokens == 200 for r in early) == pytest.approx(0.75, abs=0.06)
    assert {r.prompt_tokens for r in late} == {9}
    assert {r.output_tokens for r in late} == {1, 8}  # An empty answer is one of a token.


def test_a_part_of_the_day_begins_at_0_and_clients_are_merged_in_order(
    profiles: Callable[..., Path],
) -> None:
    path = profiles("0,1,1,,0,0\n600,1,1,,0,0", "0,3,1,,0,0\n600,3,1,,0,0")
    requests = list(generate(load(path), 1, 300.0, 600.0))
    assert [r.at_s for r in requests] == sorted(r.at_s for r in requests)
    assert 0 <= requests[0].at_s < 20
    assert requests[-1].at_s < 300
    assert len({r.prompt[0].key for r in requests}) == len(requests)
    assert requests == list(generate(load(path), 1, 300.0, 600.0))
    assert requests != list(generate(load(path), 2, 300.0, 600.0))


def test_a_tar_is_read_like_its_folder(profiles: Callable[..., Path], tmp_path: Path) -> None:
    path = profiles("0,1,1,,0,0", QUIET)
    archive = tmp_path / "profiles.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for file in sorted(path.glob("chunk-*")):
            tar.add(file, arcname=f"deep/folder/{file.name}")
    assert load(archive) == load(path)
    assert [client.number for client in load(archive)] == [0, 1]


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        ("0,1,1,Gamma,1", "line 1: expected start, rate, .* got 5 fields"),
        (f"{QUIET}\n0,1,1,Gamma,1,1", "line 2: window start is not after that above"),
        ("0,x,1,Gamma,1,1", "line 1: rate: expected a number of at least 0, got 'x'"),
        ("0,-1,1,Gamma,1,1", "line 1: rate: expected a number of at least 0, got '-1'"),
        ("0,1,1,Pareto,1,1", "line 1: pattern: expected Gamma, Weibull or nothing, got 'Pareto'"),
        ("0,1,1,Gamma,0,1", "line 1: shape: expected a positive number with Gamma, got '0'"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    trace: str, reason: str, profiles: Callable[..., Path]
) -> None:
    with pytest.raises(InvalidTrace, match=rf"chunk-0-trace\.csv, {reason}"):
        load(profiles(trace))


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "expected windows by their start"),
        ('{"0": {"text_tokens": "{}"}}', "window 0: expected input_tokens and .* got text_tokens"),
        ('{"x": {"input_tokens": "{}", "output_tokens": "{}"}}', "window x: start: expected a n"),
        ('{"0": {"input_tokens": "{a: 1}", "output_tokens": "{}"}}', "window 0: input_tokens: ex"),
        ('{"0": {"input_tokens": "{1: -1}", "output_tokens": "{}"}}', "window 0: input_tokens: e"),
    ],
)
def test_lengths_that_do_not_fit_are_named(
    dataset: str, reason: str, profiles: Callable[..., Path]
) -> None:
    with pytest.raises(InvalidTrace, match=rf"chunk-0-dataset\.json.*{reason}"):
        load(profiles(QUIET, dataset=dataset))


def test_missing_files_are_named(profiles: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match="none: no such file or folder"):
        load(tmp_path / "none")
    with pytest.raises(InvalidTrace, match=r"has no chunk-N-trace\.csv"):
        load(tmp_path)
    path = profiles(QUIET)
    (path / "chunk-0-dataset.json").unlink()
    with pytest.raises(InvalidTrace, match=r"chunk-0-dataset\.json is missing"):
        load(path)
    (tmp_path / "bad.tar").write_bytes(b"not a tar")
    with pytest.raises(InvalidTrace, match=r"bad\.tar: cannot be read"):
        load(tmp_path / "bad.tar")


@pytest.mark.slow
def test_the_published_profiles_give_what_they_say(shared_file: Callable[[str], Path]) -> None:
    clients = load(shared_file("traces/servegen_deepseek-r1.tar.xz"))
    assert len(clients) == 73
    expected = sum(_expected(client, 36_000.0, 37_800.0) for client in clients)
    requests = list(generate(clients, 1, 1800.0, 36_000.0))
    assert len(requests) == pytest.approx(expected, rel=0.05)


def _expected(client: Client, start_s: float, end_s: float) -> float:
    return sum(600 * w.rate_per_s for w in client.rates if start_s <= w.start_s < end_s)
