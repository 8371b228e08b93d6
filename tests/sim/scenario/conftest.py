"""A folder with a valid scenario that a test changes in one place."""

from collections.abc import Callable
from pathlib import Path

import pytest

POOL = """
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: m}
spec:
  model: {name: m}
  groups:
    - name: g
      workload: Static
      endpoints:
        - {name: a, address: 10.0.0.1}
        - {name: b, address: 10.0.0.2}
    - name: slow
      workload: Static
      endpoints:
        - {name: a, address: 10.0.0.3}
  slo: {ttftMs: 200}
"""

SCENARIO = """\
config: config
engines:
  - profile: h100-llama-3.1-8b-tp1
    blockTokens: 64
workload:
  poisson: {ratePerSecond: 10}
  requests: 40
"""


@pytest.fixture
def scenario_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes this text, or the valid one with more behind it, beside a pool of three engines."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "pool.yaml").write_text(POOL)

    def write(more: str = "", *, text: str = SCENARIO) -> Path:
        file = tmp_path / "mine.yaml"
        file.write_text(text + more)
        return file

    return write
