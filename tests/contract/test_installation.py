"""Where no real vLLM is to be expected, the reason is one line that says what to do."""

import platform
import sys
from pathlib import Path

import pytest

from engine_contract import vllm_cpu


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the version is named first")
def test_a_missing_wheel_names_the_folder_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_WHEELS", str(tmp_path))
    with pytest.raises(vllm_cpu.Unavailable) as caught:
        vllm_cpu.vllm_python(lambda line: pytest.fail(f"nothing is to be installed: {line}"))
    wanted = f"torch-{vllm_cpu.TORCH} for {platform.machine()}"
    folder = f"{tmp_path} (set HEADWAY_WHEELS)"
    assert str(caught.value) == f"a real vLLM needs {wanted} in {folder}"
