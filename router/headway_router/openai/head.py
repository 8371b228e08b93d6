"""What a request's headers say to the router: path, objective, tenant, and how to read the body."""

import re
from collections.abc import Mapping

from headway_core.facts import Slo
from headway_core.values import value
from headway_router.errors import RejectReason, RequestRejected
from headway_router.openai.shapes import Shape, is_models_list, shape_of

OBJECTIVE_HEADERS = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
"""llm-d's name, then the deprecated one; the new one wins.  So for the next two."""
TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
TENANT_HEADERS = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")

_LENGTH = re.compile(r"[0-9]{1,18}")
"""What is longer is no length of a body, and Python refuses to read thousands of digits."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


@value(kw_only=True)
class Head:
    method: str = "POST"
    path: str = ""
    shape: Shape = Shape.OTHER
    may_hold_json: bool = True
    """The content type is JSON or missing: an engine would parse the body."""
    slo: Slo | None = None
    slo_class: str | None = None
    tenant: str | None = None

    @property
    def asks_for_models(self) -> bool:
        return self.method == "GET" and is_models_list(self.path)


def read_head(headers: Mapping[str, str], max_body_bytes: int) -> Head:
    """Header names are in lower case.

    Raises:
        RequestRejected: for a number that is none, an encoding that engines do not decode, or
            an announced size above ``max_body_bytes``.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise RequestRejected(
            RejectReason.CONTENT_ENCODING,
            f"content-encoding {encoding!r} is not supported, send the body as it is",
            "content-encoding",
        )
    length = headers.get("content-length", "")
    if _LENGTH.fullmatch(length) and int(length) > max_body_bytes:
        raise too_large(max_body_bytes)
    path = headers.get(":path", "")
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return Head(
        method=headers.get(":method", "POST"),
        path=path,
        shape=shape_of(path),
        may_hold_json=not content_type or content_type.endswith(("/json", "+json")),
        slo=_slo(headers),
        slo_class=_first(headers, OBJECTIVE_HEADERS)[1],
        tenant=_first(headers, TENANT_HEADERS)[1],
    )


def too_large(max_body_bytes: int) -> RequestRejected:
    return RequestRejected(
        RejectReason.BODY_TOO_LARGE, f"the body is larger than {max_body_bytes} bytes"
    )


def _slo(headers: Mapping[str, str]) -> Slo | None:
    name, text = _first(headers, TTFT_HEADERS)
    if text is None:
        return None
    milliseconds = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < milliseconds < float("inf"):
        raise RequestRejected(
            RejectReason.BAD_HEADER,
            f"header {name} must be a number of milliseconds > 0, got {text!r}",
            name,
        )
    return Slo(ttft_s=milliseconds / 1000)


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str | None]:
    """The first of ``names`` that is there and not blank, with its value."""
    for name in names:
        if value := headers.get(name, "").strip():
            return name, value
    return names[0], None
