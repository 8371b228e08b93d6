"""A run with a log of every request and its exact tokens, as LLMServingSim's bench leaves it.

Source: github.com/casys-kaist/LLMServingSim at 5daddb21 (MIT); one folder:

    vllm/meta.json           version and arguments of the engine
    vllm/requests.jsonl.gz   times of every request, taken inside the engine
    workload.jsonl.gz        token ids; line i is request ``bench-i``
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from headway_sim.errors import InvalidLog
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.versions import version
from headway_sim.validation.lines import read_lines
from headway_sim.validation.run import MeasuredRun, Stage, Timed, stage_of
from headway_sim.workloads.request import Segment

FOLDER = "rtxpro6000_llama3.1-8b_vllm0.19"
GPU = "RTX-PRO-6000"
_BLOCK_TOKENS = 16


def read_run(folder: Path) -> MeasuredRun:
    """Raises: InvalidLog."""
    meta_path = folder / "vllm" / "meta.json"
    try:
        meta = json.loads(meta_path.read_text())
        arguments = meta["engine_kwargs"]
        deployment = Deployment(
            gpu_name=GPU,
            model_name=arguments["model"].rpartition("/")[2],
            tensor_parallel=arguments["tensor_parallel_size"],
        )
        vllm = version(meta["vllm_version"])
    except FileNotFoundError:
        raise InvalidLog(meta_path, "no such file") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidLog(meta_path, f"{type(error).__name__}: {error}") from error
    limits = {key: arguments.get(key) for key in ("max_num_batched_tokens", "max_num_seqs")}
    return MeasuredRun(
        name=folder.name,
        deployment=deployment,
        vllm=vllm,
        engine={key: value for key, value in limits.items() if value is not None},
        is_timed_by_client=False,
        stages=(_stage(folder),),
        source="github.com/casys-kaist/LLMServingSim at 5daddb21 (MIT)",
    )


def _stage(folder: Path) -> Stage:
    prompts = [row for _, row in read_lines(folder / "workload.jsonl.gz", ("input_tok_ids",))]
    log_path = folder / "vllm" / "requests.jsonl.gz"
    columns = ("request_id", "output_toks", "queued_ts", "first_token_ts", "last_token_ts")
    log = {row["request_id"]: row for _, row in read_lines(log_path, columns)}
    names = [f"bench-{i}" for i in range(len(prompts))]
    if log.keys() != set(names):
        raise InvalidLog(log_path, f"its requests are not bench-0 to bench-{len(prompts) - 1}")
    return stage_of(
        Timed(
            prompt=_segments(prompt["input_tok_ids"]),
            output_tokens=log[name]["output_toks"],
            arrived_s=log[name]["queued_ts"],
            first_token_s=log[name]["first_token_ts"],
            last_token_s=log[name]["last_token_ts"],
        )
        for name, prompt in zip(names, prompts, strict=True)
    )


def _segments(token_ids: Sequence[int]) -> tuple[Segment, ...]:
    """One for every 16 tokens: prompts share exactly the blocks that vLLM would share."""
    found = []
    for begin in range(0, len(token_ids), _BLOCK_TOKENS):
        ids = token_ids[begin : begin + _BLOCK_TOKENS]
        key = blake2b(repr(ids).encode(), digest_size=12).hexdigest()
        found.append(Segment(key, len(ids)))
    return tuple(found)
