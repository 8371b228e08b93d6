"""``headway crds``: what it writes, and what it finds out of date."""

from pathlib import Path

import pytest

from headway_cli.crds import main


def test_what_it_wrote_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(tmp_path)]) == 0
    assert main(["check", str(tmp_path)]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["modelpools.yaml", "routingpolicies.yaml"]
    assert capsys.readouterr().out == ""


def test_a_file_that_was_edited_and_one_that_is_missing_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["generate", str(tmp_path)])
    pools, policies = tmp_path / "modelpools.yaml", tmp_path / "routingpolicies.yaml"
    pools.write_text(pools.read_text().replace("served: true", "served: false"))
    policies.unlink()
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{pools} is not what the types say: headway crds generate {tmp_path}",
        f"{policies} is missing: headway crds generate {tmp_path}",
    ]


def test_a_folder_that_does_not_exist_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(tmp_path / "crds")]) == 2
    assert capsys.readouterr().err == f"headway crds: {tmp_path}/crds does not exist\n"
    assert not (tmp_path / "crds").exists()
