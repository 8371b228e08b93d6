"""``headway validate DIR``: every problem of a folder of documents, or what it configures."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import headway_api
from headway_api import Document, InvalidDocuments, RoutingPolicy
from headway_core.policy import Fleet, Pool
from headway_router.config_folder import scan


def main(arguments: list[str]) -> int:
    """0: valid.  1: has problems, printed one per line.  2: there is no such folder."""
    folder: Path = _parser().parse_args(arguments).folder
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        print(f"headway validate: {folder} {what}", file=sys.stderr)
        return 2
    try:
        documents = scan(folder).documents()
        fleet = headway_api.compile(documents)
    except InvalidDocuments as error:
        print(error)
        return 1
    for line in summary(fleet, documents):
        print(line)
    return 0


def summary(fleet: Fleet, documents: Sequence[Document]) -> Iterator[str]:
    """``serving/llama: serves llama-8b, sql; 3 endpoints in h100, l40s; policy serving/chat``."""
    policies = {
        key: document.resource.key
        for document in documents
        if isinstance(document.resource, RoutingPolicy)
        for key in document.resource.target_keys
    }
    for pool in fleet.pools:
        policy = policies.get(pool.name)
        routed = f"policy {policy}" if policy else "the default policy"
        yield f"{pool.name}: serves {', '.join(pool.models)}; {_endpoints(pool)}; {routed}"


def _endpoints(pool: Pool) -> str:
    groups = dict.fromkeys(endpoint.group for endpoint in pool.endpoints)
    number = len(pool.endpoints)
    return f"{number} endpoint{'s' if number != 1 else ''} in {', '.join(groups)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway validate",
        description="Check a folder of ModelPool and RoutingPolicy documents, as the router does.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="its .yaml and .yml files are read, no sub-folders"
    )
    return parser
