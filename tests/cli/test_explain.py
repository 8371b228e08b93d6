"""``headway explain``: of a folder, and of a router that has load and caches."""

import asyncio
import json
from pathlib import Path

import pytest

from headway_cli.explain import main
from headway_core.events import Scraped
from headway_core.facts import EngineView, Slo
from headway_core.outcomes import Placed
from headway_core.policy import Fleet
from headway_core.testing import a_pool, a_request, a_router, snapshot
from headway_router.explaining import Explainer
from headway_router.openai.ratios import TokenRatios
from headway_router.pages import Form, serving_pages

CONFIG = Path(__file__).parent.parent / "fixtures" / "config" / "serving"
CHAT = {"model": "small", "messages": [{"role": "user", "content": "word " * 2000}]}


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(CHAT))
    return path


def test_a_folder_is_asked_as_a_router_without_load(
    request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(request_file), "--config", str(CONFIG)]) == 0
    first, verdict, pool, header, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("model small: about 25")
    assert verdict.startswith("would go to ")
    assert pool.startswith("pool serving/llama-8b, policy ")
    assert header.split()[:3] == ["endpoint", "queue", "ms"]
    assert len(rows) == 3 and sum(row.startswith("*") for row in rows) == 1


def test_headers_count_and_all_there_is_comes_as_json(
    request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "x-llm-d-inference-objective: interactive"
    arguments = [str(request_file), "--config", str(CONFIG), "--json", "--header", header]
    assert main(arguments) == 0
    explanation = json.loads(capsys.readouterr().out)["explanation"]
    assert explanation["vllm_priority"] == -5
    assert all(c["slo_probability"] is not None for c in explanation["decision"]["candidates"])


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"model": "other", "prompt": "hi"}, 0, "would be refused: unknown-model"),
        ({"model": 5, "prompt": "hi"}, 1, "model"),
        ({"model": "small"}, 2, "give its --path"),
    ],
)
def test_what_would_be_refused_is_said(
    body: object, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(body))
    assert main([str(path), "--config", str(CONFIG)]) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


@pytest.mark.parametrize("where", ["--config=/no/such", "--router=127.0.0.1:1"])
def test_nobody_to_ask(where: str, request_file: Path) -> None:
    assert main([str(request_file), where]) == 2


async def test_a_router_explains_with_its_load_and_caches_and_changes_nothing(
    request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    core = a_router(a_pool(["a", "b"], slo=Slo(ttft_s=0.2), model="small"))
    explainer = Explainer(core, lambda: 1.0, TokenRatios(), max_body_bytes=1 << 20)
    core.observe(Scraped("a", EngineView(waiting=0)), 0.5)
    first = core.place(a_request(prompt_tokens=9000, model="small"), 0.9)
    assert isinstance(first, Placed)
    busy = first.decision.endpoint_id
    before = snapshot(core)
    form = Form("/explain", explainer.answer, 1 << 20)
    async with serving_pages("127.0.0.1", 0, {}, form) as port:
        asked = [str(request_file), "--router", f"127.0.0.1:{port}"]
        assert await asyncio.to_thread(main, asked) == 0
        said = capsys.readouterr().out
        assert f"would go to {'ab'.replace(busy, '')} (" in said
        row = next(line.split() for line in said.splitlines() if f" {busy} " in line)
        assert row[0] == busy and float(row[2]) > 500, "its engine has 9,000 tokens to prefill"
        assert snapshot(core) == before
        core.apply(Fleet(), 1.0)
        assert await asyncio.to_thread(main, asked) == 0
        assert "unknown-model" in capsys.readouterr().out
