"""What of a folder is read, and when its content counts as another."""

import os
from pathlib import Path

import pytest

from headway_api import InvalidDocuments
from headway_router import config_folder
from headway_router.config_folder import scan


def names(folder: Path) -> list[str]:
    return [Path(name).name for name in scan(folder).files]


def test_only_the_folder_s_own_yaml_files_are_read(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "C.YAML", ".hidden.yaml", "notes.txt", "old.yaml~", "x.json"):
        (tmp_path / name).write_text("a: 1")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "inner.yaml").write_text("a: 1")
    assert names(tmp_path) == ["C.YAML", "a.yml", "b.yaml"]
    assert scan(tmp_path).problems == ()


def test_links_into_a_hidden_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "..2026_01").mkdir()
    (tmp_path / "..2026_01" / "pool.yaml").write_text("a: 1")
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "pool.yaml").symlink_to("..data/pool.yaml")
    assert dict(scan(tmp_path).files) == {str(tmp_path / "pool.yaml"): b"a: 1"}


def test_the_digest_is_of_names_and_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    first = scan(tmp_path).digest
    os.utime(path, (0, 0))
    (tmp_path / "other.txt").write_text("x")
    assert scan(tmp_path).digest == first
    path.write_text("a: 2")
    second = scan(tmp_path).digest
    path.rename(tmp_path / "b.yaml")
    assert len({first, second, scan(tmp_path).digest}) == 3


def test_what_cannot_be_read_is_a_problem_and_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("a: 1")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    contents = scan(tmp_path)
    assert [str(problem) for problem in contents.problems] == [
        f"{tmp_path}/gone.yaml: cannot be read: No such file or directory",
        f"{tmp_path}/pipe.yaml: is not a regular file",
    ]
    assert names(tmp_path) == ["good.yaml"]


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    for name in (b"a\nb.yaml", b"\xff.yaml"):
        (tmp_path / os.fsdecode(name)).write_text("a: [")
    with pytest.raises(InvalidDocuments) as caught:
        scan(tmp_path).documents()
    folder = str(tmp_path)
    assert [
        line.partition(": ")[0] for line in str(caught.value).encode().decode().splitlines()
    ] == [
        rf"'{folder}/\udcff.yaml':1",
        rf"'{folder}/a\nb.yaml':1",
    ]


def test_a_folder_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    contents = scan(tmp_path / "gone")
    assert [str(problem) for problem in contents.problems] == [
        f"{tmp_path}/gone: cannot be read: No such file or directory"
    ]


def test_the_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_folder, "MAX_FILES", 2)
    monkeypatch.setattr(config_folder, "MAX_FILE_BYTES", 8)
    (tmp_path / "a.yaml").write_text("a: 1")
    (tmp_path / "b.yaml").write_text("a: 1234567")
    (tmp_path / "c.yaml").write_text("a: 1")
    assert [str(problem) for problem in scan(tmp_path).problems] == [
        f"{tmp_path}/b.yaml: is too large; allowed: 8 bytes",
        f"{tmp_path}: has 3 files of documents; allowed: 2 at most",
    ]
