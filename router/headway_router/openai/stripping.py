"""Removes what a client must not say to an engine.

``{"do_remote_prefill": true}`` in ``kv_transfer_params`` kills a NIXL decoder of vLLM 0.32, and a
``session_id`` would break the join of KV events with requests.  It works on the parsed body, so
every spelling of a key is found: escapes and duplicates too.
"""

ENGINE_FIELDS = ("session_id", "kv_transfer_params", "ec_transfer_params")

_CARRIERS = ("vllm_xargs", "extra_args", "sampling_params")
"""Objects whose entries vLLM merges into the same arguments."""


def remove_engine_fields(body: dict[str, object]) -> bool:
    """Change ``body`` in place.  Returns: whether there was anything to remove."""
    found = False
    for name in ENGINE_FIELDS:
        if name in body:
            del body[name]
            found = True
    for name in _CARRIERS:
        inner = body.get(name)
        if isinstance(inner, dict) and remove_engine_fields(inner):
            found = True
    return found
