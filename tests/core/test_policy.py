"""A fleet is consistent in itself."""

import pytest

from headway_core.policy import Fleet, Pool
from headway_core.testing import a_pool


def test_names_of_pools_differ() -> None:
    with pytest.raises(ValueError, match="two pools are named 'default/m'"):
        Fleet(pools=(a_pool("a"), a_pool("b", model="other")))


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(a_pool("b", name="default/n"), id="model"),
        pytest.param(Pool(name="default/n", model="n", aliases=("m",)), id="alias"),
        pytest.param(Pool(name="default/n", model="n", adapters=("m",)), id="adapter"),
        pytest.param(Pool(name="default/n", model="n", adapters=("n",)), id="twice by one pool"),
    ],
)
def test_a_model_is_served_by_one_pool(second: Pool) -> None:
    with pytest.raises(ValueError, match="is served by two pools or twice by one"):
        Fleet(pools=(a_pool("a"), second))


def test_endpoints_of_a_pool_differ() -> None:
    with pytest.raises(ValueError, match="pool 'default/m' has two endpoints 'a'"):
        Fleet(pools=(a_pool("aa"),))


def test_two_pools_may_share_an_endpoint() -> None:
    fleet = Fleet(pools=(a_pool("a"), a_pool("a", name="default/n", model="n")))
    assert len(fleet.pools) == 2
