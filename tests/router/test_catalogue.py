"""What the edge looks up in the fleet."""

import pytest

from edge.harness import a_pool
from headway_core.policy import Fleet
from headway_router.catalogue import Catalogue, ModelName

CATALOGUE = Catalogue(
    Fleet(
        pools=(
            a_pool(
                aliases=["alias"],
                adapters=["sql"],
                addresses=["10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.2:8000", "[fd00::1]:8000"],
            ),
        )
    )
)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("m", ModelName("m")),
        ("alias", ModelName("m")),
        ("sql", ModelName("m", "sql")),
        ("other", None),
        ("", None),
    ],
)
def test_a_name_stands_for_a_model_and_an_adapter(name: str, known: ModelName | None) -> None:
    assert CATALOGUE.model_name(name) == known


@pytest.mark.parametrize(
    ("subset", "named"),
    [
        ([], set()),
        (["10.0.0.1:8000"], {"10.0.0.1:8000"}),
        (["10.0.0.1"], {"10.0.0.1:8000", "10.0.0.1:8001"}),
        (["10.0.0.1", "10.0.0.2:8000"], {"10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.2:8000"}),
        (["10.0.0.9"], set()),
        (["10.0.0.9:1"], {"10.0.0.9:1"}),
        (["fd00::1"], {"[fd00::1]:8000"}),
        (["[fd00::1]"], {"[fd00::1]:8000"}),
        (["[fd00::1]:8000"], {"[fd00::1]:8000"}),
    ],
)
def test_an_address_without_a_port_names_all_ports_there(
    subset: list[str], named: set[str]
) -> None:
    assert CATALOGUE.endpoints_among(subset) == named
