"""``headway profile calibrate``: constants of host and API from logs."""

import argparse
from pathlib import Path
from typing import Any

from headway_sim.errors import InvalidProfile
from headway_sim.profiles import Constants, EngineProfile, profile
from headway_sim.profiles.operator_step import OperatorStep
from headway_sim.profiles.tables import StepTables
from headway_sim.profiles.versions import NEWEST, version
from headway_sim.validation.fit import fit
from headway_sim.validation.replay import replay
from headway_sim.validation.request_log import read_stage
from headway_sim.validation.run import METRICS, MeasuredRun
from headway_sim.validation.step_log import fit_steps, read_steps


def add_to(subcommands: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "calibrate",
        help="fit constants of host and API to logs",
        description="Fit the constants of host and API to a log of steps or of requests, by least"
        " squares.  A scenario takes them with `constants`, beside `profile`.",
    )
    parser.add_argument("--profile", required=True, metavar="NAME[@VERSION]")
    logs = parser.add_mutually_exclusive_group(required=True)
    logs.add_argument(
        "--steps",
        type=Path,
        metavar="FILE.jsonl",
        help="lines of prefill_chunks, decodes, kv_tokens, seconds",
    )
    logs.add_argument(
        "--requests",
        type=Path,
        metavar="FILE.jsonl",
        help="lines of arrived_s, first_token_s, last_token_s, prompt_tokens, output_tokens and"
        " optionally prompt: [[key, tokens], ...]",
    )
    parser.add_argument(
        "--thetas", action="store_true", help="with --steps: fit multipliers of the tables too"
    )
    parser.add_argument(
        "--timed-by",
        choices=("client", "engine"),
        default="client",
        help="with --requests: whether its times contain the API server (default: client)",
    )
    parser.add_argument("--max-num-seqs", type=int, metavar="N", help="if the engine was given it")
    parser.add_argument("--max-num-batched-tokens", type=int, metavar="N")
    parser.add_argument("--max-model-len", type=int, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    if given.thetas and given.steps is None:
        raise InvalidProfile("--thetas needs --steps: requests do not tell operators apart")
    if not given.out.absolute().parent.is_dir():
        raise InvalidProfile(f"no such folder: {given.out.absolute().parent}")
    known = profile(given.profile)
    model = known.step_model
    if not isinstance(model, OperatorStep):
        raise InvalidProfile(f"{known.name} is a linear fit: it has no such constants")
    if given.steps is not None:
        constants = _from_steps(given, known, model)
    else:
        constants = _from_requests(given, known, model.tables)
    constants.write(given.out)
    print(f"{given.out}: {constants.source}")
    for name in (
        "theta_gemm",
        "theta_attention",
        "theta_communication",
        "step_ms",
        "step_ms_per_sequence",
        "api_ms",
    ):
        print(f"  {name:<24}{getattr(constants, name):.4f}")
    return 0


def _limits(given: argparse.Namespace) -> dict[str, int]:
    names = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    return {name: value for name in names if (value := getattr(given, name)) is not None}


def _from_steps(given: argparse.Namespace, known: EngineProfile, model: OperatorStep) -> Constants:
    found = fit_steps(
        read_steps(given.steps), model, f"steps of {given.steps.name}", with_thetas=given.thetas
    )
    print(
        f"{found.steps} steps of {known.name}: median |error| {100 * found.median_error:.1f} %,"
        f" worst {100 * found.worst_error:+.1f} %"
    )
    return found.constants


def _from_requests(
    given: argparse.Namespace, known: EngineProfile, tables: StepTables
) -> Constants:
    _, _, wanted = given.profile.partition("@")
    run = MeasuredRun(
        name=given.requests.name,
        deployment=tables.about.deployment,
        vllm=version(wanted) if wanted else NEWEST,
        engine=_limits(given),
        is_timed_by_client=given.timed_by == "client",
        stages=(read_stage(given.requests),),
        source=given.requests.name,
    )
    constants = fit(
        [run],
        lambda run, constants: replay(run, known.with_constants(constants)),
        f"requests of {given.requests.name}",
    )
    (stage,) = replay(run, known.with_constants(constants))
    predicted = stage.metrics(constants)
    for metric in METRICS:
        measured = stage.stage.measured[metric]
        error = 100 * (predicted[metric] / measured - 1) if measured else 0.0
        print(f"  {metric:<14}{predicted[metric]:.4f} predicted, {measured:.4f} ({error:+.1f} %)")
    return constants
