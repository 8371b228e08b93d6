"""The images that the chart runs: what their Dockerfiles promise."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("operator", "router")


def lines(part: str) -> list[str]:
    text = (ROOT / "images" / f"{part}.Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("part", PARTS)
def test_an_image_is_rootless_and_of_a_pinned_base(part: str) -> None:
    found = lines(part)
    [base] = [line.partition("=")[2] for line in found if line.startswith("ARG BASE=")]
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-\w+", base)
    assert [line.split()[1] for line in found if line.startswith("FROM ")] == 2 * ["${BASE}"]
    last = found[max(n for n, line in enumerate(found) if line.startswith("FROM ")) :]
    assert "USER 65532:65532" in last  # as in the chart
    assert f'CMD ["{part}"]' in last
    assert f"ARG EXTRAS={part}" in found
    assert any('-c constraints.txt ".[${EXTRAS}]"' in line for line in found)


@pytest.mark.parametrize("part", PARTS)
def test_what_an_image_copies_is_sent_to_the_builder(part: str) -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    words = [line.split()[1:-1] for line in lines(part) if re.match(r"COPY (?!--)", line)]
    copied = {word for sources in words for word in sources}
    assert copied == sent
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.findall(r'"(\w+)/headway_\w+"', project)
    assert set(packages) <= copied


def test_make_builds_both_or_says_what_is_missing() -> None:
    command = ["make", "--no-print-directory", "images", "CONTAINER=echo"]
    given = subprocess.run(
        [*command, "IMAGE_REPOSITORY=example.com/x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for part in PARTS:
        assert re.search(
            rf"-f images/{part}.Dockerfile -t example.com/x/headway-{part}:\d", given.stdout
        )
    missing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "IMAGE_REPOSITORY is not set" in missing.stderr
