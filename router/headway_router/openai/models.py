"""``GET /v1/models`` of the whole fleet, in the form that vLLM gives for one engine."""

import orjson

from headway_core.policy import Fleet


def models_list(fleet: Fleet, created_s: int) -> bytes:
    """Every name a client may ask for.  An adapter names its model as ``parent``.

    ``created_s`` is Unix time, as the API has a creation time for each model; the fleet has none,
    so it is the time since when the fleet is in force.
    """
    entries = []
    for pool in fleet.pools:
        entries += [
            _entry(name, pool.model, None, created_s) for name in (pool.model, *pool.aliases)
        ]
        entries += [_entry(name, name, pool.model, created_s) for name in pool.adapters]
    return orjson.dumps({"object": "list", "data": entries})


def _entry(name: str, root: str, parent: str | None, created_s: int) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": created_s,
        "owned_by": "headway",
        "root": root,
        "parent": parent,
    }
