"""Reads one field of a JSON body, or says what is wrong with it."""

from collections.abc import Mapping

from headway_router.errors import RejectReason, RequestRejected

_JSON_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def wrong_type(param: str, allowed: str, value: object) -> RequestRejected:
    got = _JSON_NAMES[type(value)]
    return RequestRejected(RejectReason.WRONG_TYPE, f"{param} must be {allowed}, got {got}", param)


def missing(param: str) -> RequestRejected:
    return RequestRejected(RejectReason.MISSING_FIELD, f"{param} is required", param)


def required_string(body: Mapping[str, object], name: str, param: str | None = None) -> str:
    """Raises: RequestRejected: if it is missing, empty or no string."""
    value = body.get(name)
    if value is None or value == "":
        raise missing(param or name)
    if not isinstance(value, str):
        raise wrong_type(param or name, "a string", value)
    return value


def optional_string(body: Mapping[str, object], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "a string or null", value)
    return value


def required_list(body: Mapping[str, object], name: str) -> list[object]:
    value = body.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, list):
        raise wrong_type(name, "an array", value)
    return value


def optional_list(body: Mapping[str, object], name: str) -> list[object] | None:
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise wrong_type(name, "an array or null", value)
    return value


def optional_count(body: Mapping[str, object], name: str) -> int | None:
    """A number of tokens.  Engines accept ``100.0`` for 100, so it is accepted here."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise wrong_type(name, "an integer or null", value)
    if value < 0:
        raise RequestRejected(
            RejectReason.WRONG_TYPE, f"{name} must be at least 0, got {value}", name
        )
    return int(value)
