"""The examples are valid, and what they say of defaults is true."""

from pathlib import Path

import headway_api
from headway_core.policy import Fleet, Policy

STANDALONE = Path(__file__).parent.parent.parent / "examples" / "standalone"


def fleet() -> Fleet:
    files = {path.name: path.read_text() for path in STANDALONE.glob("*.yaml")}
    return headway_api.compile(headway_api.read(files, origin="examples"))


def test_the_stand_alone_example_configures_one_pool_of_two_kinds() -> None:
    [pool] = fleet().pools
    assert pool.name == "default/llama-8b"
    assert [(e.group, e.endpoint_id) for e in pool.endpoints] == [
        ("h100", "10.0.0.11:8000"),
        ("h100", "10.0.0.12:8000"),
        ("l40s", "[fd00::21]:8080"),
    ]


def test_its_policy_spells_out_the_defaults_but_for_the_classes() -> None:
    [pool] = fleet().pools
    assert [slo_class.name for slo_class in pool.policy.slo_classes] == ["interactive", "batch"]
    assert pool.policy == Policy(
        slo_classes=pool.policy.slo_classes, content_hash=pool.policy.content_hash
    )
