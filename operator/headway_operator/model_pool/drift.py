"""Where an object is not what was applied to it."""

from collections.abc import Iterator
from typing import Any

from headway_operator.names import APPLIED, Manifest


def hash_of(manifest: Manifest) -> str | None:
    """Of what was applied last; None: nothing was."""
    found = manifest["metadata"].get("annotations", {}).get(APPLIED)
    return None if found is None else str(found)


def differences(wanted: Any, live: Any, path: str = "") -> Iterator[str]:
    """Fields of ``wanted`` that ``live`` has otherwise or not at all; what only ``live`` has is
    another's business.  Entries of a list are the same if their names are, else by position."""
    match wanted, live:
        case dict(), dict():
            for key, value in wanted.items():
                yield from differences(value, live.get(key), f"{path}.{key}" if path else key)
        case list(), list():
            named = {
                item["name"]: item for item in live if isinstance(item, dict) and "name" in item
            }
            for i, item in enumerate(wanted):
                name = item.get("name") if isinstance(item, dict) else None
                other = named.get(name) if name else (live[i] if i < len(live) else None)
                yield from differences(item, other, f"{path}[{name or i}]")
            if not named and len(live) > len(wanted):
                yield f"{path}[{len(wanted)}]"
        case _:
            if wanted != live and wanted not in ({}, []) and wanted is not None:
                yield path
