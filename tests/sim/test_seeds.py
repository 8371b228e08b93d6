"""Substreams are independent of each other and of the process."""

import subprocess
import sys

from headway_sim.seeds import Substreams


def test_a_draw_in_one_substream_changes_no_other() -> None:
    plain, disturbed = Substreams(7), Substreams(7)
    disturbed.stream("scrape", 0, "a").random()
    assert plain.stream("arrivals").random() == disturbed.stream("arrivals").random()


def test_names_and_seeds_give_different_streams() -> None:
    draws = {
        Substreams(seed).stream(*name).random()
        for seed in (1, 2)
        for name in (("scrape", 0, "a"), ("scrape", 0, "b"), ("scrape", 1, "a"), ("arrivals",))
    }
    assert len(draws) == 8


def test_a_stream_is_the_same_whatever_the_hash_seed() -> None:
    program = "from headway_sim.seeds import Substreams; print(Substreams(3).stream('x').random())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {f"{Substreams(3).stream('x').random()}\n"}
