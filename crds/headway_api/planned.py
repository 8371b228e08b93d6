"""Fields and values of the API's full design that this version does not obey, and so refuses.

Only for the message: who copies an example of a later version reads that it is the version, not a
typing error.  The key is the path of the field that holds them.
"""

PLANNED_FIELDS: dict[str, dict[str, str]] = {
    "ModelPool": {
        "spec": "disaggregation expose",
        "spec.model": "uri",
        "spec.engine": "type version dataParallelPorts kvEvents kvConnector",
        "spec.profile": (
            "kind description contextWindowTokens features precision tags efforts pricing"
            " capabilities taskQuality anchors latency energy"
        ),
        "spec.profile.adapters[]": "uri rank sizeMiB capabilities taskQuality",
        "spec.groups[]": ("autoscaling costPerHour powerWatts scaleDownSelection"),
        "spec.drain": "readinessGate",
        "spec.availability": "maxUnavailable",
        "spec.groups[].capacity": "decodeTokensPerSecond maxRunningRequests",
        "spec.slo": "tpotMs e2eMs percentile",
    },
    "RoutingPolicy": {
        "spec": "mode disaggregation trafficSplit modelSelection",
        "spec.targetRefs[]": "sectionName",
        "spec.strategy": "regime",
        "spec.sloClasses[]": "tpotMs",
        "spec.flowControl": "maxQueuedMiB fairness",
        "spec.resilience": "onNoEndpoint outlierDetection",
    },
}
"""By kind."""

NOT_YET = "not supported by this version of Headway"

PLANNED_VALUES: dict[str, dict[str, str]] = {
    "spec.groups[].role": {"Prefill": NOT_YET, "Decode": NOT_YET},
    "spec.targetRefs[].kind": {"InferencePool": NOT_YET},
    "spec.targetRefs[].group": {"inference.networking.k8s.io": NOT_YET},
}


def is_planned(kind: str, holder: str, field: str) -> bool:
    """Whether the full design has ``field`` in ``holder``, a path with ``[]`` for every index."""
    return field in PLANNED_FIELDS.get(kind, {}).get(holder, "").split()


def planned_value(path: str, value: object) -> str | None:
    """Why a value of the full design is refused; None: it is not of the full design."""
    return PLANNED_VALUES.get(path, {}).get(value) if isinstance(value, str) else None
