"""The committed modules are what the contract says."""

from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2] / "proto"
CONTRACT = "headway_proto/v1alpha1/discovery.proto"


@pytest.mark.parametrize("suffix", ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py"])
def test_the_modules_are_generated_from_the_contract(suffix: str, tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", f"-I{ROOT}", *outputs, CONTRACT]) == 0
    module = CONTRACT.replace(".proto", suffix)
    assert (ROOT / module).read_text() == (tmp_path / module).read_text(), "run `make proto`"
