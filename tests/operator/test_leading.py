"""Several replicas on a real API server: one leads, another takes over, the old one is silent."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.api import until
from control_plane.operator import OperatorProcess
from control_plane.plane import ControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

Good = Callable[[str], dict[str, Any]]


@pytest.fixture
def replicas(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """The first leads; both watch the test's namespace only."""
    arguments = ["--namespace", namespace, "--lease-namespace", namespace]
    arguments += ["--resync-seconds", "0.3"]
    running: list[OperatorProcess] = []
    try:
        for name in ("first", "second"):
            running.append(OperatorProcess(control_plane, tmp_path / name, *arguments))
            event = "leader.elected" if name == "first" else "leader.follows"
            running[-1].wait_for(event)
        yield running[0], running[1]
    finally:
        for replica in running:
            replica.stop()


def holder(control_plane: ControlPlane, namespace: str) -> str:
    lease = control_plane.admin.get("Lease", namespace, "headway-operator")
    return str(lease["spec"]["holderIdentity"])


def test_a_leader_that_is_told_to_stop_gives_the_lease_back(
    control_plane: ControlPlane,
    namespace: str,
    good: Good,
    replicas: tuple[OperatorProcess, OperatorProcess],
) -> None:
    first, second = replicas
    control_plane.admin.create(good("scaled"))
    first.wait_for("pool.reconciled", pool=f"{namespace}/scaled")
    assert second.logged("pool.reconciled") == []
    first.process.terminate()
    assert first.process.wait_until_gone(60) == 0
    second.wait_for("leader.elected")
    second.wait_for("pool.reconciled", pool=f"{namespace}/scaled")
    lease = control_plane.admin.get("Lease", namespace, "headway-operator")
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing_when_it_wakes(
    control_plane: ControlPlane,
    namespace: str,
    good: Good,
    replicas: tuple[OperatorProcess, OperatorProcess],
) -> None:
    admin = control_plane.admin
    first, second = replicas
    admin.create(good("scaled"))
    first.wait_for("pool.reconciled", pool=f"{namespace}/scaled")
    old = holder(control_plane, namespace)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        second.wait_for("leader.elected")
        admin.merge("ModelPool", namespace, "scaled", {"spec": {"replicas": 5}})
        until(
            lambda: admin.get("Deployment", namespace, "scaled-all")["spec"]["replicas"] == 5,
            "the second replica scales",
        )
        written = len(first.logged("cluster.applied"))
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    first.wait_for("leader.ended")
    second.wait_for_looks(f"{namespace}/scaled", 3)
    assert len(first.logged("cluster.applied")) == written
    assert holder(control_plane, namespace) != old
    assert first.process.is_alive
    reverted = [e for e in admin.list("Event", namespace) if e["reason"] == "EditReverted"]
    assert reverted == []
