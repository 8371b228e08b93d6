"""From documents to the fleet."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headway_api
from headway_api import Document, InvalidDocuments, ModelPool, RoutingPolicy
from headway_core.facts import Endpoint, EndpointState
from headway_core.policy import Fleet, Policy

Change = Callable[..., str]
Compiled = Callable[[str], Fleet]


def a_pool(name: str = "p", **spec: object) -> Document:
    group = {"name": "g", "workload": "Static", "endpoints": [{"name": "a", "address": "10.0.0.1"}]}
    resource = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name},
        "spec": {"model": {"name": name}, "groups": [group], **spec},
    }
    return Document(resource=ModelPool.model_validate(resource), file="memory")


def a_policy(name: str = "r", targets: Sequence[str] = ("p",), **spec: object) -> Document:
    resource = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": name},
        "spec": {"targetRefs": [{"name": target} for target in targets], **spec},
    }
    return Document(resource=RoutingPolicy.model_validate(resource), file="memory")


def groups(*each: Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {
            "name": f"g{i}",
            "workload": "Static",
            "endpoints": [{"name": "a", "address": f"10.0.{i}.1"}],
            **group,
        }
        for i, group in enumerate(each)
    ]


def policy_hash(*documents: Document) -> str:
    return headway_api.compile(documents).pools[0].policy.content_hash


def test_a_policy_of_defaults_routes_as_no_policy_does() -> None:
    without = headway_api.compile([a_pool()])
    assert headway_api.compile([a_pool(), a_policy()]) == without
    [pool] = without.pools
    assert pool.policy == Policy(content_hash=pool.policy.content_hash)


def test_the_order_of_documents_does_not_matter() -> None:
    documents = [a_pool("p"), a_pool("q"), a_pool("r"), a_policy(targets=("r", "p"))]
    fleet = headway_api.compile(documents)
    for seed in range(5):
        shuffled = documents.copy()
        Random(seed).shuffle(shuffled)
        assert headway_api.compile(shuffled) == fleet


def test_the_hash_is_the_same_in_every_process() -> None:
    program = (
        "import headway_api, sys\n"
        "documents = headway_api.read({'f': sys.stdin.read()}, origin='test')\n"
        "print(headway_api.compile(documents).pools[0].policy.content_hash)\n"
    )
    text = json.dumps(a_pool().resource.model_dump(mode="json", exclude_none=True))
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=text,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {policy_hash(a_pool())}


def test_the_hash_is_of_what_is_asked_for_not_of_how_it_is_written() -> None:
    default = policy_hash(a_pool(), a_policy())
    assert len(default) == 16
    assert policy_hash(a_pool(), a_policy(resilience={"maxAttempts": 2})) == default
    assert policy_hash(a_pool(), a_policy(name="other")) == default
    assert policy_hash(a_pool(), a_pool("q"), a_policy(targets=("q", "p"))) == default
    assert policy_hash(a_pool(), a_policy(resilience={"maxAttempts": 1})) != default
    assert policy_hash(a_pool(), a_policy(sloClasses=[{"name": "a"}])) != default


@pytest.mark.parametrize(
    ("first", "second", "weight"),
    [
        (
            {"capacity": {"prefillTokensPerSecond": 40}},
            {"capacity": {"prefillTokensPerSecond": 10}},
            0.25,
        ),
        (
            {"accelerator": {"type": "h100-80gb"}},
            {"accelerator": {"type": "l40s-48gb"}},
            0.0182 / 0.0558,
        ),
        (
            {"accelerator": {"type": "a100-80gb"}},
            {"accelerator": {"type": "b200"}},
            0.0595 / 0.0095,
        ),
        ({"accelerator": {"type": "h100-80gb"}}, {"accelerator": {"type": "mystery"}}, 1.0),
        ({}, {"accelerator": {"type": "h100-80gb"}}, 1.0),
        ({}, {}, 1.0),
        (
            {"accelerator": {"type": "h100"}, "capacity": {"prefillTokensPerSecond": 40}},
            {"accelerator": {"type": "h200"}},
            1.0,
        ),
        (
            {"accelerator": {"type": "h100"}, "capacity": {"prefillTokensPerSecond": 40}},
            {"accelerator": {"type": "l40s"}, "capacity": {"prefillTokensPerSecond": 80}},
            2.0,
        ),
    ],
    ids=[
        "declared rates",
        "known accelerators",
        "faster than the first",
        "an unknown accelerator",
        "one accelerator only",
        "nothing known",
        "a rate of one group only: the accelerators",
        "declared rates win over accelerators",
    ],
)
def test_a_group_weighs_what_it_prefills_relative_to_the_first(
    first: Mapping[str, object], second: Mapping[str, object], weight: float
) -> None:
    [pool] = headway_api.compile([a_pool(groups=groups(first, second))]).pools
    assert [endpoint.weight for endpoint in pool.endpoints] == pytest.approx([1.0, weight])


@pytest.mark.parametrize(
    ("accelerator", "tokens"),
    [
        ("h100", 8192),
        ("nvidia-h100-80gb-hbm3", 8192),
        ("h200-141gb", 8192),
        ("b200", 16384),
        ("rtx-pro-6000-96gb", 8192),
        ("a100-80gb", 2048),
        ("l40s-48gb", 2048),
        ("cpu", 2048),
        ("gh200x", 2048),
        (None, 2048),
    ],
)
def test_the_accelerator_decides_the_batch(accelerator: str | None, tokens: int) -> None:
    group: dict[str, object] = {"accelerator": {"type": accelerator}} if accelerator else {}
    [pool] = headway_api.compile([a_pool(groups=groups(group))]).pools
    assert pool.endpoints[0].capacity.batch_tokens == tokens


def discovered(endpoint_id: str, state: EndpointState = EndpointState.READY) -> Endpoint:
    return Endpoint(endpoint_id=endpoint_id, name="d", group="found", state=state)


def states(fleet: Fleet) -> dict[str, str]:
    return {e.endpoint_id: e.state for pool in fleet.pools for e in pool.endpoints}


def test_a_declared_endpoint_takes_the_state_that_was_discovered() -> None:
    draining = discovered("10.0.0.1:8000", EndpointState.DRAINING)
    fleet = headway_api.compile([a_pool("p")], {"default/p": [draining]})
    assert states(fleet) == {"10.0.0.1:8000": "Draining"}
    [endpoint] = fleet.pools[0].endpoints
    assert (endpoint.name, endpoint.group) == ("a", "g")


def test_other_discovered_endpoints_join_their_pool_as_they_are() -> None:
    new = discovered("10.0.0.9:8000")
    fleet = headway_api.compile(
        [a_pool("p"), a_pool("q")], {"default/q": [new], "default/x": [new]}
    )
    [p, q] = fleet.pools
    assert [e.endpoint_id for e in p.endpoints] == ["10.0.0.1:8000"]
    assert q.endpoints[1] is new


def test_documents_that_were_never_text_are_checked_too() -> None:
    with pytest.raises(InvalidDocuments) as caught:
        headway_api.compile([a_policy(targets=("nobody",))])
    assert str(caught.value) == (
        "memory: spec.targetRefs[0].name: there is no ModelPool default/nobody;"
        " allowed: none: no ModelPool in namespace default"
    )


def test_the_same_resource_twice_is_one_too_many() -> None:
    with pytest.raises(InvalidDocuments, match=r"'default/p' is a ModelPool already, in memory"):
        headway_api.compile([a_pool(), a_pool()])


def test_a_resource_written_out_and_read_again_is_the_same(
    serving: Change, compiled: Compiled
) -> None:
    documents = headway_api.read({"f.yaml": serving()}, origin="test")
    written = {
        f"{i}.yaml": json.dumps(d.resource.model_dump(mode="json", exclude_none=True))
        for i, d in enumerate(documents)
    }
    again = headway_api.read(written, origin="test")
    assert headway_api.compile(again) == compiled(serving())


@given(
    rates=st.lists(st.none() | st.integers(1, 2**31 - 1), min_size=1, max_size=16),
    types=st.lists(st.sampled_from(["h100", "l40s", "b200", "cpu"]), min_size=16, max_size=16),
)
def test_weights_are_positive_and_the_first_is_the_measure(
    rates: list[int | None], types: list[str]
) -> None:
    each: list[dict[str, object]] = [
        {"accelerator": {"type": type_}, "capacity": {"prefillTokensPerSecond": rate}}
        for rate, type_ in zip(rates, types, strict=False)
    ]
    [pool] = headway_api.compile([a_pool(groups=groups(*each))]).pools
    assert pool.endpoints[0].weight == 1.0
    assert all(endpoint.weight > 0 for endpoint in pool.endpoints)
