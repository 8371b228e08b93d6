"""Scenario files: every field means something, every mistake is named where it stands."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headway_core.facts import Slo
from headway_core.policy import QueueOrder
from headway_sim.errors import InvalidScenario
from headway_sim.profiles import Rung
from headway_sim.profiles.compile import roofline_profile
from headway_sim.profiles.deployment import Deployment
from headway_sim.scenario import (
    ConversationSource,
    PoissonSource,
    TraceSource,
    Workload,
    load,
)
from headway_sim.scenario.problems import InvalidScenarioFile
from headway_sim.scenario.sources import Arrivals
from headway_sim.step_model import Dilated
from headway_sim.workloads.multi_turn import MultiTurn
from headway_sim.workloads.poisson import Poisson
from headway_sim.world.setting import (
    Crash,
    Drain,
    FirstTokens,
    Join,
    KvEvents,
    Observation,
    RouterRestart,
    Scrapes,
    Setting,
    Straggler,
)

Write = Callable[..., Path]


def test_the_least_that_is_needed_gets_the_defaults_of_the_values(scenario_file: Write) -> None:
    scenario = load(scenario_file())
    assert scenario.setting == Setting()
    assert (scenario.name, scenario.policy, scenario.seed) == ("mine", "headway", 0)
    assert scenario.workload == Workload(
        source=PoissonSource(shape=Poisson(rate_per_s=10)), requests=40
    )
    assert scenario.target() == Slo(ttft_s=0.2)
    assert list(scenario.engines) == ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"]
    (spec,) = set(scenario.engines.values())
    assert spec.config.block_tokens == 64
    assert spec.config.kv_tokens == pytest.approx(452_000, rel=0.01)


def test_profiles_and_constants_may_be_files_beside_the_scenario(scenario_file: Write) -> None:
    text = (
        "config: config\nengines: [{profile: mine.npz@0.15.1, constants: constants.json}]\n"
        "workload: {poisson: {ratePerSecond: 1}, requests: 1}\n"
    )
    path = scenario_file(text=text)
    with pytest.raises(InvalidScenarioFile, match=r"mine\.yaml:2: engines: .*no such file"):
        load(path)
    compiled = roofline_profile(Deployment(gpu_name="MI300X", model_name="Llama-3.1-8B"))
    compiled.write(path.parent / "mine.npz")
    (path.parent / "constants.json").write_text('{"api_ms": 3, "layer_us": 1}')
    with pytest.raises(InvalidScenarioFile, match="unknown layer_us; allowed: theta_gemm"):
        load(path)
    (path.parent / "constants.json").write_text('{"api_ms": -3}')
    with pytest.raises(InvalidScenarioFile, match="api_ms must be a finite number >= 0, got -3"):
        load(path)
    (path.parent / "constants.json").write_text('{"api_ms": 3}')
    (spec,) = set(load(path).engines.values())
    assert spec.step_times.rung is Rung.ROOFLINE
    assert spec.api_s(100) == 0.003
    assert not spec.config.reserve_full_prompt


def test_every_field_arrives(scenario_file: Write) -> None:
    scenario = load(
        scenario_file(
            text="""
config: config
policy: chwbl
parameters: {load_factor: 2}
seed: 7
model: m
engines:
  - {pool: default/m, profile: h100-llama-3.1-8b-tp1}
  - group: slow
    profile: l40s-llama-3.1-8b-tp1
    kvTokens: 32000
    blockTokens: 32
    maxNumSeqs: 4
    maxNumBatchedTokens: 512
    maxModelLen: 16000
    prefixCaching: false
    slowdown: 2
workload:
  conversations:
    {users: 3, durationSeconds: 9, thinkSeconds: 2, readSecondsPerToken: 0.1, systemPrompts: 2,
     popularityExponent: 2, systemTokens: [1, 2], firstUserTokens: [3, 4], nextUserTokens: [5, 6],
     outputTokens: [7, 8], turns: [1, 2]}
  followsAnswers: true
  warmUpRequests: 3
routers: {replicas: 2, engineDelaySeconds: 0.01, discoverySeconds: 2}
observation:
  scrape: {intervalSeconds: 2, jitter: 0.3, delaySeconds: 0.1, loss: 0.2}
  firstTokens: Sampled
  sampledShare: 0.5
  kvEvents: {delaySeconds: 1, loss: 0.1, gaps: [{fromSeconds: 1, toSeconds: 2}]}
  blockTokens: 128
  sizeError: 0.3
faults:
  - crash: {endpoint: g/a, atSeconds: 1, downSeconds: 2}
  - straggler: {endpoint: "10.0.0.2:8000", atSeconds: 1, forSeconds: 2, factor: 3}
  - drain: {endpoint: slow/a, atSeconds: 1, graceSeconds: 2}
  - join: {endpoint: g/b, atSeconds: 1, startSeconds: 2}
  - routerRestart: {replica: 1, atSeconds: 1, downSeconds: 2}
slo: {ttftSeconds: 3, ttftSecondsPer1kTokens: 0.1, tpotSeconds: 0.05}
untilSeconds: 100
literalEngines: true
"""
        )
    )
    assert scenario.setting == Setting(
        seed=7,
        replicas=2,
        router_engine_s=0.01,
        discovery_s=2,
        observation=Observation(
            scrapes=Scrapes(interval_s=2, jitter=0.3, delay_s=0.1, loss=0.2),
            first_tokens=FirstTokens.SAMPLED,
            sampled_share=0.5,
            kv_events=KvEvents(delay_s=1, loss=0.1, gaps_s=((1, 2),)),
            block_tokens=128,
            size_error=0.3,
        ),
        faults=(
            Crash(endpoint_id="10.0.0.1:8000", at_s=1, down_s=2),
            Straggler(endpoint_id="10.0.0.2:8000", at_s=1, for_s=2, factor=3),
            Drain(endpoint_id="10.0.0.3:8000", at_s=1, grace_s=2),
            Join(endpoint_id="10.0.0.2:8000", at_s=1, start_s=2),
            RouterRestart(replica=1, at_s=1, down_s=2),
        ),
    )
    talk = MultiTurn(
        users=3,
        think_s=2,
        read_s_per_token=0.1,
        system_prompts=2,
        popularity_exponent=2,
        system_tokens=(1, 2),
        first_user_tokens=(3, 4),
        next_user_tokens=(5, 6),
        output_tokens=(7, 8),
        turns=(1, 2),
    )
    assert scenario.workload == Workload(
        source=ConversationSource(shape=talk, duration_s=9),
        follows_answers=True,
        warm_up_requests=3,
    )
    assert (scenario.policy, scenario.parameters) == ("chwbl", {"load_factor": 2})
    assert (scenario.slo, scenario.tpot_slo_s) == (Slo(ttft_s=3, ttft_s_per_1k_tokens=0.1), 0.05)
    assert scenario.until_s == 100
    assert scenario.literal_engines
    slow = scenario.engines["10.0.0.3:8000"]
    assert slow.profile == "l40s-llama-3.1-8b-tp1"
    assert isinstance(slow.step_model, Dilated)
    assert replace(slow.config, num_blocks=1001) == slow.config
    assert (slow.config.max_num_seqs, slow.config.max_num_batched_tokens) == (4, 512)
    assert (slow.config.max_model_len, slow.config.prefix_caching) == (16000, False)


def test_the_policy_of_the_documents_is_the_routers(scenario_file: Write, tmp_path: Path) -> None:
    (tmp_path / "config" / "policy.yml").write_text(
        "apiVersion: headway.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {name: p}\n"
        "spec: {targetRefs: [{name: m}], flowControl: {order: EDF}}\n"
    )
    scenario = load(scenario_file())
    assert scenario.fleet.pools[0].policy.flow_control.order is QueueOrder.EDF


def test_a_trace_is_looked_for_from_the_folder_of_the_file(
    scenario_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "t.jsonl").write_text("")
    text = (
        "config: config\nengines: [{profile: tiny}]\n"
        "workload: {trace: {file: t.jsonl, arrivals: Recorded}, concurrency: 2, thinkSeconds: 1}\n"
    )
    assert load(scenario_file(text=text)).workload == Workload(
        source=TraceSource(file=tmp_path / "t.jsonl", arrivals=Arrivals.RECORDED),
        concurrency=2,
        think_s=1,
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param("sede: 1\n", "mine.yaml:8: sede: unknown field; allowed: config,", id="typo"),
        pytest.param(
            "observation: {scrape: {interval: 1}}\n",
            "mine.yaml:8: observation.scrape.interval: unknown field; allowed: intervalSeconds,",
            id="deep typo",
        ),
        pytest.param("seed: x\n", "mine.yaml:8: seed: 'x' is not allowed; allowed: a valid int"),
        pytest.param("seed: -1\n", "mine.yaml:8: seed: -1 is not allowed; allowed: greater than"),
        pytest.param(
            "observation:\n  firstTokens: Maybe\n",
            "mine.yaml:9: observation.firstTokens: 'Maybe' is not allowed; allowed: 'Tap',",
        ),
        pytest.param("seed: 1\nseed: 2\n", "mine.yaml:9: seed: written twice"),
        pytest.param("policy: best\n", "mine.yaml:8: policy: no baseline 'best'; known: aibrix"),
        pytest.param(
            "policy: chwbl\nparameters: {factor: 2}\n",
            "mine.yaml:8: policy: unknown parameter 'factor'; there are: load_factor",
        ),
        pytest.param(
            "policy: chwbl\nparameters: {replication: 2.5}\n",
            "mine.yaml:8: policy: parameter 'replication' must be an integer, got 2.5",
        ),
        pytest.param("parameters: {p: 1}\n", "the policy 'headway' has no parameters"),
        pytest.param("model: x\n", "model 'x' is not served; there are: m"),
        pytest.param(
            "faults:\n  - crash: {endpoint: g/z, atSeconds: 1}\n",
            "mine.yaml:8: faults: no endpoint 'g/z'; there are: g/a, g/b, slow/a",
        ),
        pytest.param("faults: [{}]\n", "mine.yaml:8: faults: 0 faults in one entry; allowed: one"),
        pytest.param(
            "observation: {kvEvents: {gaps: [{fromSeconds: 2, toSeconds: 1}]}}\n",
            "mine.yaml:8: observation: kv_events.gaps_s must be spans with 0 <= from < to",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(scenario_file: Write, more: str, message: str) -> None:
    with pytest.raises(InvalidScenarioFile) as caught:
        load(scenario_file(more))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ("{}", "0 sources; allowed: one of trace, azure, servegen, conversations"),
        ("{poisson: {ratePerSecond: 1}}", "requests is needed"),
        ("{trace: {file: no.jsonl}}", "no such trace"),
        ("{poisson: {ratePerSecond: 1}, requests: 1, followsAnswers: true}", "needs conversations"),
        (
            "{poisson: {ratePerSecond: 1}, requests: 1, concurrency: 2, ratePerSecond: 1}",
            "rate_per_s has no meaning in a closed loop",
        ),
        ("{poisson: {ratePerSecond: 1, outputTokens: [3, 2]}, requests: 1}", "1 <= least <= most"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused(
    scenario_file: Write, workload: str, message: str
) -> None:
    text = f"config: config\nengines: [{{profile: tiny}}]\nworkload: {workload}\n"
    with pytest.raises(InvalidScenarioFile, match=r"mine.yaml:3: workload") as caught:
        load(scenario_file(text=text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        ("[{profile: gpu}]", "no engine profile 'gpu'; `headway profile list`"),
        ("[{group: g, profile: tiny}]", "no engine is given for group 'slow'"),
        ("[{profile: tiny}, {group: x, profile: tiny}]", "has no endpoints in group 'x'"),
        ("[{profile: tiny}, {profile: tiny}]", "two entries are about the same endpoints"),
        ("[{pool: a/b, profile: tiny}]", "'a/b' is none; there are: default/m"),
        ("[{profile: tiny, kvTokens: 100, maxModelLen: 200}]", "max_model_len must be"),
    ],
)
def test_engines_are_to_fit_the_pools(scenario_file: Write, engines: str, message: str) -> None:
    text = (
        f"config: config\nengines: {engines}\n"
        "workload: {poisson: {ratePerSecond: 1}, requests: 1}\n"
    )
    with pytest.raises(InvalidScenarioFile, match=r"mine\.yaml:2: engines") as caught:
        load(scenario_file(text=text))
    assert message in str(caught.value)


def test_problems_of_the_documents_are_those_of_the_router(
    scenario_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "config" / "pool.yaml").write_text("kind: Pool\n")
    with pytest.raises(InvalidScenarioFile, match=r"pool.yaml:1: kind: 'Pool' is not a kind"):
        load(scenario_file())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 documents"),
        (b"a: [", "mine.yaml:1: not YAML"),
        (b"\xff", "is not UTF-8 text"),
        (b"config: c\n---\nx: 1\n", "has 2 documents, one is wanted"),
        (b"- 1\n", "is not allowed"),
    ],
)
def test_what_is_no_scenario_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InvalidScenarioFile, match=message):
        load(tmp_path / "mine.yaml")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidScenario, match=r"no\.yaml: cannot be read: No such file"):
        load(tmp_path / "no.yaml")


def test_recorded_lengths_and_client_profiles_are_sources_too(
    scenario_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "azure.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03,100,10\n2023-11-16 18:17:05.5,50,3\n"
    )
    profiles = tmp_path / "clients"
    profiles.mkdir()
    (profiles / "chunk-0-trace.csv").write_text("0,0,0,,0,0\n600,2,1,,0,0\n")
    lengths = '{"0": {"input_tokens": "{30: 1}", "output_tokens": "{4: 1}"}}'
    (profiles / "chunk-0-dataset.json").write_text(lengths)
    head = "config: config\nengines: [{profile: tiny}]\nworkload: "
    recorded = load(scenario_file(text=f"{head}{{azure: {{file: azure.csv}}}}\n")).workload
    assert [(i.at_s, i.request.prompt_tokens) for i in recorded.traffic(1).first()] == [
        (0.0, 100),
        (2.5, 50),
    ]
    of_clients = "{servegen: {path: clients, durationSeconds: 60, fromSeconds: 600}}"
    made = load(scenario_file(text=f"{head}{of_clients}\n")).workload
    sent = [(i.at_s < 60, i.request.prompt_tokens) for i in made.traffic(1).first()]
    assert set(sent) == {(True, 30)}
    assert 80 < len(sent) < 160
