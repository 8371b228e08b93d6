"""Which API a path belongs to."""

from enum import StrEnum


class Shape(StrEnum):
    CHAT = "chat"
    COMPLETION = "completion"
    RESPONSE = "response"
    EMBEDDING = "embedding"
    MESSAGE = "message"
    """Anthropic's ``/v1/messages``."""
    OTHER = "other"
    """Routed by load: its content is not known to be a prompt."""


_BY_PATH = {
    "/v1/chat/completions": Shape.CHAT,
    "/v1/completions": Shape.COMPLETION,
    "/v1/responses": Shape.RESPONSE,
    "/v1/embeddings": Shape.EMBEDDING,
    "/v1/messages": Shape.MESSAGE,
}


def shape_of(path: str) -> Shape:
    """The shape of the body that is posted to ``path``; a query string does not matter.

    A prefix before ``/v1`` does not matter either: a gateway removes it after this filter.
    """
    path = path.partition("?")[0].rstrip("/")
    if (shape := _BY_PATH.get(path)) is not None:
        return shape
    _, version, rest = path.rpartition("/v1/")
    return _BY_PATH.get(version + rest, Shape.OTHER)


def is_models_list(path: str) -> bool:
    return path.partition("?")[0].rstrip("/").endswith("/v1/models")
