"""``headway validate``: exit codes and what is printed."""

from pathlib import Path

import pytest

from headway_cli.validate import main

CONFIG = Path(__file__).parent.parent / "fixtures" / "config"


def test_a_good_folder_is_summed_up_pool_by_pool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(CONFIG / "serving")]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        (
            "serving/llama-8b: serves meta-llama/Llama-3.1-8B-Instruct, llama-8b, small, sql;"
            " 3 endpoints in h100, l40s; policy serving/chat"
        ),
        "serving/qwen-32b: serves Qwen/Qwen3-32B; 1 endpoint in existing; the default policy",
    ]
    assert printed.err == ""


def test_every_problem_is_a_line_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (CONFIG / "demo" / "demo.yaml").read_text()
    (tmp_path / "a.yaml").write_text(good.replace("port: 8001", "prot: 8001"))
    (tmp_path / "b.yml").write_text("kind: [\n")
    assert main([str(tmp_path)]) == 1
    [first, second] = capsys.readouterr().out.splitlines()
    assert first == (
        f"{tmp_path}/a.yaml:13: spec.groups[0].endpoints[0].prot: unknown field, did you mean"
        " 'port'?; allowed: name, address, port"
    )
    assert second.startswith(f"{tmp_path}/b.yml:1: not YAML: ")


def test_rules_between_files_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = (CONFIG / "serving" / "policies.yaml").read_text()
    (tmp_path / "policies.yaml").write_text(policy)
    assert main([str(tmp_path)]) == 1
    assert "there is no ModelPool serving/llama-8b" in capsys.readouterr().out


def test_a_folder_without_documents_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("nothing to read here")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        f"{tmp_path}: has no documents; allowed: at least one ModelPool in a .yaml or .yml file\n"
    )


@pytest.mark.parametrize(
    ("name", "problem"), [("missing", "does not exist"), ("file.yaml", "is not a folder")]
)
def test_what_is_no_folder_is_an_error_of_the_caller(
    name: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.yaml").touch()
    assert main([str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"headway validate: {tmp_path / name} {problem}\n"


def test_a_missing_argument_is_an_error_of_the_caller() -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
