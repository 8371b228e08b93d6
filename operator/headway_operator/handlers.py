"""kopf's part: it watches, and its handlers name the pool that an object is about.

Only ``on.event``, which writes nothing to the objects; handlers of other kinds would add finalizers
and annotations to them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import kopf

from headway_operator.discovery.store import Kind
from headway_operator.names import POOL, Manifest, PoolKey

PODS = ("", "v1", "pods")
CHILDREN = (("apps", "v1", "deployments"), ("policy", "v1", "poddisruptionbudgets"))


Told = Callable[[Kind, str | None, Manifest], None]
"""Is given the object itself, and ``DELETED`` or what else has happened to it."""


def registry(
    changed: Callable[[PoolKey], None], told: Told, *, in_cluster: bool
) -> kopf.OperatorRegistry:
    """Handlers that call ``changed`` and ``told``; their own credentials as the client's."""
    handlers = kopf.OperatorRegistry()

    async def pool(name: str | None, namespace: str | None, **_: Any) -> None:
        if name is not None and namespace is not None:
            changed(PoolKey(namespace, name))

    async def child(labels: Mapping[str, str], namespace: str | None, **_: Any) -> None:
        if namespace is not None:
            changed(PoolKey(namespace, labels[POOL]))

    async def login(**given: Any) -> kopf.ConnectionInfo | None:
        if in_cluster:
            return kopf.login_with_service_account(**given)
        return kopf.login_with_kubeconfig(**given)

    def teller(kind: Kind) -> Callable[..., Awaitable[None]]:
        async def tell(event: Mapping[str, Any], **_: Any) -> None:
            told(kind, event["type"], dict(event["object"]))

        return tell

    kopf.on.login(registry=handlers)(login)
    kopf.on.event("headway.dev", "v1alpha1", "modelpools", registry=handlers)(pool)
    for kind, plural in ((Kind.POOL, "modelpools"), (Kind.POLICY, "routingpolicies")):
        named = f"tell_{kind.value}"
        kopf.on.event("headway.dev", "v1alpha1", plural, id=named, registry=handlers)(teller(kind))
    kopf.on.event(*PODS, labels={POOL: kopf.PRESENT}, registry=handlers)(teller(Kind.POD))
    for resource in CHILDREN:
        kopf.on.event(*resource, labels={POOL: kopf.PRESENT}, registry=handlers)(child)
    return handlers


def settings() -> kopf.OperatorSettings:
    """What differs from kopf's defaults."""
    chosen = kopf.OperatorSettings()
    chosen.watching.server_timeout = 300
    # The API server filters; a name in one string would not match.
    for group, _, plural in (*CHILDREN, PODS):
        chosen.watching.label_selectors[group, plural] = POOL
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.scanning.disabled = True  # else it lists and watches definitions and namespaces
    chosen.peering.standalone = True  # it is no election; ours is
    chosen.process.ultimate_exiting_timeout = 25
    return chosen
