"""The page about simulating names what there is."""

import re
from pathlib import Path

from headway_sim.baselines import BASELINES
from headway_sim.scenario.shapes import (
    FaultShape,
    ObservationShape,
    RoutersShape,
    ScenarioShape,
    WorkloadShape,
)

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()


def test_every_baseline_is_named_and_no_other() -> None:
    listed = re.findall(r"`([a-z-]+)`", PAGE.rpartition("## Baselines")[2])
    assert sorted(listed) == sorted(BASELINES)


def test_every_field_of_a_scenario_is_named() -> None:
    named = set(re.findall(r"`([a-zA-Z1]+)(?:\[\])?`", PAGE))
    for shape in (ScenarioShape, WorkloadShape, RoutersShape, ObservationShape, FaultShape):
        fields = {str(field.alias) for field in shape.model_fields.values()}
        assert fields <= named, shape.__name__
