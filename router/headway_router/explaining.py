"""What the router would do with a request: a dry run, for ``/explain`` and ``headway explain``."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson

from headway_core.outcomes import Explanation
from headway_core.policy import Fleet
from headway_core.router import Router
from headway_router.catalogue import Catalogue
from headway_router.errors import RequestRejected
from headway_router.metrics import Metrics
from headway_router.openai.answers import error_body
from headway_router.openai.head import read_head
from headway_router.openai.intake import Intake
from headway_router.openai.ratios import TokenRatios
from headway_router.openai.shapes import shape_of

_REQUEST_ID = "explained"


class Explainer:
    """Reads requests as the edge does, by counters of its own, and asks the core to explain."""

    def __init__(
        self,
        core: Router,
        clock: Callable[[], float],
        ratios: TokenRatios,
        *,
        max_body_bytes: int,
    ) -> None:
        self._core = core
        self._clock = clock
        self._fleet = Fleet()
        self._catalogue = Catalogue(self._fleet)
        self._intake = Intake(
            self._current_catalogue, ratios, Metrics(), max_body_bytes=max_body_bytes
        )

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """HTTP status and JSON: an explanation, or what the client would be told is wrong.

        ``path`` is the client's; names of headers are in lower case.
        """
        try:
            explained = self._explained({**headers, ":method": "POST", ":path": path}, body)
        except RequestRejected as rejected:
            status = rejected.reason.status
            code, param = rejected.reason, rejected.param
            text = error_body(shape_of(path), status, rejected.message, code=code, param=param)
            return status, text
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return HTTPStatus.OK, orjson.dumps(explained, option=option)

    def _explained(self, headers: Mapping[str, str], body: bytes) -> Mapping[str, object]:
        head = read_head(headers, self._intake.max_body_bytes)
        request = self._intake.with_body(_REQUEST_ID, head, None, body).request
        explanation: Explanation = self._core.explain(request, self._clock())
        return {
            "requested_model": request.requested_model,
            "prompt_tokens": request.prompt_tokens,
            "blocks": len(request.blocks),
            "explanation": explanation,
        }

    def _current_catalogue(self) -> Catalogue:
        if self._fleet is not self._core.fleet:
            self._fleet = self._core.fleet
            self._catalogue = Catalogue(self._fleet)
        return self._catalogue
