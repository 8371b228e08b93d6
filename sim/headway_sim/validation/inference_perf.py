"""Runs of ``inference-perf`` against real vLLM 0.15.1 servers on H100 GPUs.

Source: github.com/inference-sim/training at ed5c1d26, ``default_args/`` (no licence file: used and
cited, not shipped).  One folder per run, packed in one archive:

    exp-config.yaml                          model, tensor parallel size, limits of the engine
    profile.yaml                             JSON: prompts and stages that were asked for
    results/stage_N_lifecycle_metrics.json   what came out

What is known of the load generator:

- its *constant* load has exponential gaps, scaled to the duration: a Poisson process with its count
  fixed (``ConstantLoadTimer``);
- it cycles through a few fixed prompts, each a shared head and a question of its own;
- with ``ignore_eos`` every answer has exactly ``output_len`` tokens.  The ``output_len`` of its
  results counts the *text* anew and differs by up to 20 %; the number of streamed chunks, which is
  (E2E - TTFT) / time_per_output_token, is 2 * output_len + 1 in all runs.
"""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from headway_sim.errors import InvalidLog
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.versions import version
from headway_sim.validation.run import MeasuredRun, Stage
from headway_sim.workloads.request import Segment, WorkloadRequest

ARCHIVE = "blis_training_h100.tar.gz"
GPU = "H100"
VLLM = version("0.15.1")

MODELS: Mapping[str, str] = {
    "codellama/CodeLlama-34b-Instruct-hf": "CodeLlama-34B",
    "meta-llama/Llama-2-70b-hf": "Llama-2-70B",
    "meta-llama/Llama-2-70b-chat-hf": "Llama-2-70B",
    "meta-llama/Llama-2-7b-hf": "Llama-2-7B",
    "meta-llama/Llama-2-7b-chat-hf": "Llama-2-7B",
}
"""Of the archive -> ours."""

_QUANTILES = {
    "min": 0, "p0.1": 0.1, "p1": 1, "p5": 5, "p10": 10, "p25": 25, "median": 50,
    "p75": 75, "p90": 90, "p95": 95, "p99": 99, "p99.9": 99.9, "max": 100,
}  # fmt: skip


def read_runs(path: Path) -> tuple[MeasuredRun, ...]:
    """All usable runs of the archive: those without failed requests, of models with GQA.

    (Failures mean overload; multi-head attention has no tables.)  Raises: InvalidLog.
    """
    files = _files(path)
    folders = sorted(
        {name.rsplit("/", 1)[0] for name in files if name.endswith("/exp-config.yaml")}
    )
    if not folders:
        raise InvalidLog(path, "has no run: no exp-config.yaml in it")
    runs = []
    for folder in folders:
        try:
            run = _run(folder, files)
        except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise InvalidLog(path, f"{folder}: {type(error).__name__}: {error}") from error
        if run is not None and not run.deployment.shape.is_multi_head:
            runs.append(run)
    return tuple(runs)


def _files(path: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    found[member.name.removeprefix("./")] = content.read()
    except FileNotFoundError:
        raise InvalidLog(path, "no such file") from None
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InvalidLog(path, f"cannot be read: {error}") from error
    return found


def _run(folder: str, files: Mapping[str, bytes]) -> MeasuredRun | None:
    """None: requests failed."""
    setup = yaml.safe_load(io.BytesIO(files[f"{folder}/exp-config.yaml"]))
    load = json.loads(files[f"{folder}/profile.yaml"])
    name = folder.rsplit("/", 1)[-1]
    stages = []
    for number, wanted in enumerate(load["load"]["stages"]):
        results = json.loads(files[f"{folder}/results/stage_{number}_lifecycle_metrics.json"])
        if results["failures"]["count"]:
            return None
        stages.append(_stage(name, number, wanted, load["data"]["shared_prefix"], results))
    return MeasuredRun(
        name=name,
        deployment=Deployment(
            gpu_name=GPU,
            model_name=MODELS[setup["model"]],
            tensor_parallel=setup["tensor_parallelism"],
        ),
        vllm=VLLM,
        engine={
            key: setup[key] for key in ("max_model_len", "max_num_batched_tokens", "max_num_seqs")
        },
        is_timed_by_client=True,
        stages=tuple(stages),
        source="github.com/inference-sim/training at ed5c1d26",
    )


def _stage(
    run: str, number: int, wanted: Mapping[str, Any], data: Mapping[str, Any], results: Any
) -> Stage:
    latency = results["successes"]["latency"]
    ttft, e2e = latency["time_to_first_token"], latency["request_latency"]
    output_tokens = data["output_len"]
    prompts = _prompts(data, results["successes"]["prompt_len"])
    arrivals = _arrivals(results["load_summary"]["count"], wanted["duration"], f"{run}/{number}")
    return Stage(
        name=str(number),
        requests=tuple(
            WorkloadRequest(
                at_s=at_s, prompt=prompts[i % len(prompts)], output_tokens=output_tokens
            )
            for i, at_s in enumerate(arrivals)
        ),
        measured={
            "ttft_mean_s": ttft["mean"],
            "e2e_mean_s": e2e["mean"],
            "tpot_mean_s": (e2e["mean"] - ttft["mean"]) / (output_tokens - 1),
            "ttft_p99_s": ttft["p99"],
        },
        median_ttft_s=ttft["median"],
    )


def _prompts(data: Mapping[str, Any], lengths: Mapping[str, float]) -> list[tuple[Segment, ...]]:
    """Heads by group, and questions of their own; lengths at even quantiles of the measured."""
    groups, users = data["num_unique_system_prompts"], data["num_users_per_system_prompt"]
    head, count = data["system_prompt_len"], groups * users
    known = [lengths[name] for name in _QUANTILES]
    percents = [(i + 0.5) / count * 100 for i in range(count)]
    tokens = np.interp(percents, list(_QUANTILES.values()), known)
    # Groups take turns, so that no group has all the long ones.
    return [
        (Segment(f"head/{i % groups}", head), Segment(f"question/{i}", round(length) - head))
        for i, length in enumerate(tokens.tolist())
    ]


def _arrivals(count: int, duration_s: float, seed: str) -> Sequence[float]:
    rng = Random(f"{seed}/arrivals")
    gaps = np.array([rng.expovariate(1.0) for _ in range(count)])
    times: list[float] = (np.cumsum(gaps) * (duration_s / gaps.sum())).tolist()
    return times
