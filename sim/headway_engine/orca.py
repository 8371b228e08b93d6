"""ORCA load reports: a response header with two gauges, for who asks with a request header.

Only plain answers carry it; streams have neither header nor trailer, as in vLLM.
"""

import json

from aiohttp import web

from headway_engine.driver import EngineDriver

REQUEST_HEADER = "endpoint-load-metrics-format"
RESPONSE_HEADER = "endpoint-load-metrics"


class OrcaReport:
    def __init__(self, driver: EngineDriver) -> None:
        self._driver = driver

    def headers(self, request: web.Request) -> dict[str, str]:
        """Formats other than text and json (in any case) get no header."""
        wanted = request.headers.get(REQUEST_HEADER, "").lower()
        if wanted not in ("text", "json"):
            return {}
        stats = self._driver.stats()
        waiting = stats.waiting_capacity + stats.waiting_deferred + self._driver.held
        gauges = {
            "num_requests_waiting": float(waiting),
            "kv_cache_usage_perc": float(stats.kv_usage),
        }
        if wanted == "json":
            return {RESPONSE_HEADER: f"JSON {json.dumps({'named_metrics': gauges})}"}
        pairs = ", ".join(f"named_metrics.{name}={value}" for name, value in gauges.items())
        return {RESPONSE_HEADER: f"TEXT {pairs}"}
