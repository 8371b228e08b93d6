"""The resources that users write, and what the core makes of them.

documents = headway_api.read({"pool.yaml": text}, origin="configuration")
fleet = headway_api.compile(documents)
"""

from headway_api.compiler import compile  # noqa: A004
from headway_api.configuration import read
from headway_api.documents import Document
from headway_api.errors import ApiError, InvalidDocuments, Problem
from headway_api.model_pool import ModelPool
from headway_api.routing_policy import RoutingPolicy

__all__ = [
    "ApiError",
    "Document",
    "InvalidDocuments",
    "ModelPool",
    "Problem",
    "RoutingPolicy",
    "compile",
    "read",
]
