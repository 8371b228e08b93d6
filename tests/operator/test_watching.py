"""What is changed is looked at because of the change: this operator looks at nothing by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.api import until
from control_plane.operator import OperatorProcess
from control_plane.plane import ControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def watching(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    arguments = ["--namespace", namespace, "--lease-namespace", namespace]
    process = OperatorProcess(control_plane, tmp_path, *arguments, "--resync-seconds", "86400")
    try:
        process.wait_for("operator.resynced")
        yield process
        assert len(process.logged("operator.resynced")) == 1
        assert process.logged("pool.crashed") == []
    finally:
        process.stop()


def test_a_pool_and_all_that_it_owns_are_watched(
    control_plane: ControlPlane,
    namespace: str,
    good: Callable[[str], dict[str, Any]],
    watching: OperatorProcess,
) -> None:
    api = control_plane.admin
    api.create(good("scaled"))
    until(lambda: api.exists("PodDisruptionBudget", namespace, "scaled-all"), "it is created")

    def replicas() -> int:
        return int(api.get("Deployment", namespace, "scaled-all")["spec"]["replicas"])

    api.merge("ModelPool", namespace, "scaled", {"spec": {"replicas": 4}})
    until(lambda: replicas() == 4, "a change of the pool is followed")

    api.merge("Deployment", namespace, "scaled-all", {"spec": {"replicas": 9}})
    until(lambda: replicas() == 4, "a change of the Deployment is reverted")

    for kind in ("Deployment", "PodDisruptionBudget"):
        uid = api.get(kind, namespace, "scaled-all")["metadata"]["uid"]
        api.delete(kind, namespace, "scaled-all")

        def made_again(kind: str = kind, uid: str = uid) -> bool:
            found = api.exists(kind, namespace, "scaled-all")
            return found and api.get(kind, namespace, "scaled-all")["metadata"]["uid"] != uid

        until(made_again, f"a deleted {kind} is made again")
