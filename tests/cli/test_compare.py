"""``headway compare``: a grid of runs that is kept, resumed and summed up."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from headway_cli.compare import grid, main, workers
from headway_cli.compare.grid import Cell, cells
from headway_cli.compare.plot import svg
from headway_cli.compare.store import Store
from headway_cli.compare.summary import crossing, difference, estimate, summary
from headway_sim.report import Report
from headway_sim.scenario import load

CONFIG = Path(__file__).parents[2] / "examples" / "simulate" / "config"
SCENARIO = f"""
config: {CONFIG}
engines: [{{profile: h100-llama-3.1-8b-tp1, blockTokens: 256}}]
workload: {{poisson: {{ratePerSecond: 40, outputTokens: [2, 8]}}, requests: 40}}
slo: {{ttftSeconds: 0.06}}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headway" / "simulations"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "s.yaml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Callable[[], int]:
    """How many cells were really run since it was asked last, by the lines of progress."""
    return lambda: len(re.findall(r"^\d+/\d+ ", capsys.readouterr().err, re.MULTILINE))


def compare(scenario: Path, *more: str, policies: str = "headway,round-robin") -> int:
    return main([str(scenario), "--policies", policies, "--jobs", "1", *more])


def test_a_grid_is_run_once_and_a_larger_one_uses_it(
    scenario: Path, ran: Callable[[], int]
) -> None:
    assert compare(scenario, "--seeds", "1,2") == 0
    assert ran() == 4
    assert compare(scenario, "--seeds", "1,2") == 0
    assert ran() == 0
    assert compare(scenario, "--seeds", "1,2,3", policies="headway,round-robin,chwbl") == 0
    assert ran() == 5


def test_an_interrupted_comparison_goes_on_where_it_was(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = grid.run
    seen: list[Cell] = []

    def interrupted(path: Path, cell: Cell) -> Report:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(cell)
        return run(path, cell)

    monkeypatch.setattr(workers, "run", interrupted)
    assert compare(scenario, "--seeds", "1,2") == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(workers, "run", run)
    assert compare(scenario, "--seeds", "1,2") == 0
    assert "2 of 4 results are known from before" in capsys.readouterr().err


def test_a_change_of_what_decides_a_run_is_another_run(
    scenario: Path, ran: Callable[[], int], cache: Path
) -> None:
    compare(scenario, "--seeds", "1", policies="chwbl")
    scenario.write_text(SCENARIO + "observation: {sizeError: 0.2}\n")
    compare(scenario, "--seeds", "1", policies="chwbl")
    assert ran() == 2
    for file in cache.iterdir():
        file.write_text("{")
    compare(scenario, "--seeds", "1", policies="chwbl")  # A damaged result is none.
    assert ran() == 1


def test_the_documents_and_the_trace_are_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    document = tmp_path / "c" / "pool.yaml"
    document.write_text((CONFIG / "pool.yaml").read_text())
    trace = tmp_path / "t.jsonl"
    line = '{"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [1]}\n'
    trace.write_text(line)
    file = tmp_path / "s.yaml"
    file.write_text("config: c\nengines: [{profile: tiny}]\nworkload: {trace: {file: t.jsonl}}\n")
    cell = Cell("headway", None, 1)

    def name() -> Path:
        return Store(tmp_path, load(file), file)._file(cell)

    first = name()
    assert name() == first
    trace.write_text(line * 2)
    second = name()
    document.write_text(document.read_text() + "# another policy\n")
    assert len({first, second, name()}) == 3


def test_policies_are_compared_on_the_same_requests(scenario: Path, tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    assert compare(scenario, "--seeds", "1,2", "--rates", "50", "--json", str(result)) == 0
    found = json.loads(result.read_text())
    runs = found["runs"]
    assert [(r["policy"], r["seed"]) for r in runs] == [
        ("headway", 1), ("round-robin", 1), ("headway", 2), ("round-robin", 2),
    ]  # fmt: skip
    for one, other in (runs[:2], runs[2:]):
        assert one["delivered_rate_per_s"] == other["delivered_rate_per_s"]
        lengths = [
            [(b["from"], b["arrived"]) for b in run["by_prompt_tokens"]] for run in (one, other)
        ]
        assert lengths[0] == lengths[1]
    assert runs[0]["delivered_rate_per_s"] != runs[2]["delivered_rate_per_s"]
    assert found["rows"][0]["attainment_difference"]["mean"] == 0.0


@pytest.mark.slow
def test_processes_give_what_one_process_gives(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache {jobs}"))
        result = tmp_path / f"{jobs}.json"
        arguments = ["--seeds", "1,2", "--jobs", jobs, "--json", str(result)]
        assert main([str(scenario), *arguments]) == 0
        results.append(result.read_bytes())
    assert results[0] == results[1]


@pytest.mark.slow
def test_what_fails_in_a_process_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.jsonl").write_text("{}\n")
    file = tmp_path / "s.yaml"
    file.write_text(
        f"config: {CONFIG}\nengines: [{{profile: tiny}}]\nworkload: {{trace: {{file: t.jsonl}}}}\n"
    )
    assert main([str(file), "--seeds", "1,2", "--jobs", "2"]) == 2
    assert "t.jsonl, line 1: expected the columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--policies", "best"], "no baseline 'best'"),
        (["--policies", "headway,headway"], "is given twice"),
        (["--svg", "x.svg"], "needs at least two --rates"),
        (["--json", "no/such/x.json"], "no such folder"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    scenario: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main([str(scenario), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("headway compare: ")
    assert message in error


@pytest.mark.parametrize("flag", [["--rates", "0"], ["--seeds", "-1"], ["--jobs", "0"]])
def test_flags_out_of_range_are_refused(scenario: Path, flag: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(scenario), *flag])
    assert caught.value.code == 2


# -- what the seeds say together ------------------------------------------------------------


def test_an_interval_is_that_of_student() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    # s = sqrt(2.5), t(0.975, 4) = 2.776
    assert (found.mean, found.seeds) == (3.0, 5)
    assert found.half_width == pytest.approx(2.776 * 2.5**0.5 / 5**0.5)
    assert estimate([1.0]).half_width is None


def a_report(attainment: float | None) -> Report:
    return {
        "attainment": attainment,
        "goodput_per_s": None,
        "delivered_rate_per_s": 1.0,
        "cached_share": 0.5,
        "ttft_s": None,
        "tpot_s": None,
        "e2e_s": None,
        "requests": {"arrived": 10, "shed": 1, "failed": 0},
    }


def reports(*values: tuple[str, float, int, float | None]) -> dict[Cell, Report]:
    return {Cell(policy, rate, seed): a_report(value) for policy, rate, seed, value in values}


def test_differences_are_taken_seed_by_seed() -> None:
    found = reports(("a", 1.0, 1, 0.9), ("a", 1.0, 2, 0.5), ("b", 1.0, 1, 0.8), ("b", 1.0, 2, 0.4))
    paired = difference(found, "attainment", "b", "a", 1.0)
    assert paired is not None
    assert paired.mean == pytest.approx(-0.1)
    assert paired.half_width == pytest.approx(0.0, abs=1e-9)


def test_the_knee_is_where_90_percent_are_crossed() -> None:
    assert crossing([(1.0, 1.0), (2.0, 0.95), (3.0, 0.75)], 0.9) == pytest.approx(2.25)
    assert crossing([(1.0, 1.0), (2.0, 0.95)], 0.9) is None
    assert crossing([(1.0, 0.8)], 0.9) is None


def test_a_figure_that_no_seed_has_is_absent() -> None:
    (row,) = summary(reports(("a", 1.0, 1, None)), ["a"], [1.0])["rows"]
    assert row["attainment"] is None
    assert row["ttft_p50_s"] is None
    assert row["shed_share"]["mean"] == 0.1


def test_the_plot_is_a_drawing_of_every_policy() -> None:
    found = reports(
        *(
            (p, r, s, 1.0 - r / 10 - s / 100)
            for p in ("a<b", "c")
            for r in (1.0, 2.0, 3.0)
            for s in (1, 2)
        )
    )
    drawing = svg("title & more", summary(found, ["a<b", "c"], [1.0, 2.0, 3.0]))
    root = ET.fromstring(drawing)
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {"a<b", "c", "title & more"} <= set(texts)
    lines = list(root.iter(f"{space}polyline"))
    assert len(lines) == len(list(root.iter(f"{space}polygon"))) == 2
    heights = [float(point.split(",")[1]) for point in lines[0].attrib["points"].split()]
    assert heights == sorted(heights)  # Down the page as the rate grows.


def test_one_rate_is_no_plot() -> None:
    with pytest.raises(ValueError, match="at least two rates"):
        svg("t", summary(reports(("a", 1.0, 1, 0.5)), ["a"], [1.0]))


def test_cells_go_seed_by_seed() -> None:
    assert cells(["a", "b"], [1.0], [1, 2]) == (
        Cell("a", 1.0, 1), Cell("b", 1.0, 1), Cell("a", 1.0, 2), Cell("b", 1.0, 2),
    )  # fmt: skip
