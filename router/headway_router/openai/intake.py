"""From headers and body to the request that the core places, and the body that the engine gets."""

from collections.abc import Callable
from time import perf_counter

import orjson

from headway_core.facts import EndpointId, InferenceRequest
from headway_core.values import value
from headway_router.catalogue import Catalogue, ModelName
from headway_router.errors import RejectReason, RequestRejected
from headway_router.metric_labels import Phase
from headway_router.metrics import Metrics
from headway_router.openai.blocks import BLOCK_TOKENS, block_hashes
from headway_router.openai.content import content_of
from headway_router.openai.fields import (
    optional_count,
    optional_string,
    required_string,
    wrong_type,
)
from headway_router.openai.head import Head, too_large
from headway_router.openai.ratios import TokenRatios
from headway_router.openai.shapes import Shape
from headway_router.openai.stripping import remove_engine_fields

MAX_BODY_BYTES = 16 * 2**20
"""Four million tokens of text; a gateway's own limit lies above it."""

_OUTPUT_LIMITS = {
    Shape.CHAT: ("max_completion_tokens", "max_tokens"),
    Shape.COMPLETION: ("max_tokens",),
    Shape.RESPONSE: ("max_output_tokens",),
    Shape.MESSAGE: ("max_tokens",),
}

_ANY_MODEL = ModelName("")


@value
class Accepted:
    """``body`` is what to send instead of the client's bytes; None: those, untouched."""

    request: InferenceRequest
    body: bytes | None = None


@value
class _Prompt:
    tokens: int
    blocks: tuple[int, ...] = ()
    estimated_from_bytes: int | None = None


class Intake:
    """Reads requests.  ``catalogue`` gives the fleet in force."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        ratios: TokenRatios,
        metrics: Metrics,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._catalogue = catalogue
        self._ratios = ratios
        self._parse_s = metrics.phase_s[Phase.PARSE]
        self._hash_s = metrics.phase_s[Phase.HASH]
        self.max_body_bytes = max_body_bytes

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue()

    def without_body(
        self, request_id: str, head: Head, allowed: frozenset[EndpointId] | None
    ) -> InferenceRequest:
        """A request that has no body, or whose body the gateway does not send here."""
        return self._request(request_id, head, allowed, "", _ANY_MODEL, _Prompt(0))

    def with_body(
        self,
        request_id: str,
        head: Head,
        allowed: frozenset[EndpointId] | None,
        raw: bytes | memoryview,
    ) -> Accepted:
        """Raises: RequestRejected."""
        if len(raw) > self.max_body_bytes:
            raise too_large(self.max_body_bytes)
        started = perf_counter()
        body = _parsed(head, raw)
        parsed = perf_counter()
        self._parse_s.observe(parsed - started)
        try:
            accepted = self._read(request_id, head, allowed, raw, body)
        except orjson.JSONEncodeError:
            raise _too_deep() from None
        self._hash_s.observe(perf_counter() - parsed)
        return accepted

    def _read(
        self,
        request_id: str,
        head: Head,
        allowed: frozenset[EndpointId] | None,
        raw: bytes | memoryview,
        body: object,
    ) -> Accepted:
        if not isinstance(body, dict):
            size = 0 if body is None else len(raw)
            prompt = _Prompt(self._estimate(_ANY_MODEL, size))
            return Accepted(self._request(request_id, head, allowed, "", _ANY_MODEL, prompt))
        if head.shape is Shape.OTHER:
            named = body.get("model")
            model = named if isinstance(named, str) else ""
            name = self.catalogue.model_name(model) or _ANY_MODEL
            prompt, limit = _Prompt(self._estimate(name, len(raw))), None
        else:
            model = required_string(body, "model")
            name = self.catalogue.model_name(model) or ModelName(model)
            prompt = self._prompt(head.shape, name, body)
            limit = _output_limit(head.shape, body)
        changed = orjson.dumps(body) if remove_engine_fields(body) else None
        tells = body.get("stream") is True or head.shape is Shape.EMBEDDING
        request = self._request(request_id, head, allowed, model, name, prompt, limit, tells)
        return Accepted(request, changed)

    def _prompt(self, shape: Shape, name: ModelName, body: dict[str, object]) -> _Prompt:
        salt = optional_string(body, "cache_salt") or ""
        content = content_of(shape, body)
        if content is None:
            return _Prompt(0)
        canonical = content.after(name.model, name.adapter or "", salt)
        tokens = content.tokens
        blocks = block_hashes(canonical)
        if tokens is None:
            size = sum(map(len, canonical))
            return _Prompt(self._estimate(name, size), blocks, size)
        return _Prompt(tokens, blocks)

    def _estimate(self, name: ModelName, size: int) -> int:
        return round(size * self._ratios.tokens_per_byte(name.model))

    def _request(
        self,
        request_id: str,
        head: Head,
        allowed: frozenset[EndpointId] | None,
        model: str,
        name: ModelName,
        prompt: _Prompt,
        max_output_tokens: int | None = None,
        tells_first_token: bool = False,
    ) -> InferenceRequest:
        return InferenceRequest(
            request_id=request_id,
            requested_model=model,
            prompt_tokens=prompt.tokens,
            blocks=prompt.blocks,
            block_tokens=BLOCK_TOKENS,
            content_bytes=prompt.estimated_from_bytes,
            adapter=name.adapter,
            tenant=head.tenant,
            slo=head.slo,
            slo_class=head.slo_class,
            max_output_tokens=max_output_tokens,
            tells_first_token=tells_first_token,
            allowed_endpoints=allowed,
        )


def _parsed(head: Head, raw: bytes | memoryview) -> object:
    """The body as JSON; None: it is none, and no engine will take it for JSON.

    An engine may parse what this parser refuses (UTF-16, NaN), so a body that may be JSON to an
    engine is never let through unread.
    """
    is_prompt = head.shape is not Shape.OTHER
    if not raw or (bytes(raw[:1]).isspace() and bytes(raw).isspace()):
        if is_prompt:
            raise RequestRejected(
                RejectReason.EMPTY_BODY, "the body is empty, a JSON object is needed"
            )
        return None
    if not is_prompt and not head.may_hold_json:
        return None
    try:
        body: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestRejected(
            RejectReason.MALFORMED_JSON, f"the body is not valid JSON: {error}"
        ) from None
    if is_prompt and not isinstance(body, dict):
        raise wrong_type("body", "an object", body)
    return body


def _output_limit(shape: Shape, body: dict[str, object]) -> int | None:
    """The first of the shape's limits that is there; each of them must be one."""
    found = None
    for name in _OUTPUT_LIMITS.get(shape, ()):
        if name in body:
            limit = optional_count(body, name)
            found = limit if found is None else found
    return found


def _too_deep() -> RequestRejected:
    return RequestRejected(RejectReason.MALFORMED_JSON, "the body is nested too deeply")
