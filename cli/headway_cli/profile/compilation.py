"""``headway profile compile``: operator tables become a small profile."""

import argparse
from pathlib import Path
from typing import Any

from headway_sim.errors import InvalidProfile
from headway_sim.profiles.compile import compile_profile, open_tables, roofline_profile
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.gpus import GPUS, gpu
from headway_sim.profiles.library import file_name
from headway_sim.profiles.models import MODELS, WeightDtype
from headway_sim.profiles.profile import from_tables
from headway_sim.profiles.versions import NEWEST, text_of, version


def add_to(subcommands: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "compile",
        help="make a profile from operator tables",
        description="Make a profile from the operator tables of NVIDIA AIConfigurator"
        " (Apache-2.0).  Tables: the newest that are not newer than the engine, else the oldest.",
    )
    parser.add_argument("--gpu", required=True, metavar="GPU", help=", ".join(GPUS))
    parser.add_argument("--model", required=True, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--tp", type=int, default=1, metavar="N", help="GPUs (default: 1)")
    parser.add_argument(
        "--ep", action="store_true", help="spread whole experts over the GPUs, not slices of them"
    )
    parser.add_argument(
        "--dtype", choices=[str(dtype) for dtype in WeightDtype], default=str(WeightDtype.BF16)
    )
    parser.add_argument(
        "--vllm",
        default=text_of(NEWEST),
        metavar="VERSION",
        help=f"of the engine (default: {text_of(NEWEST)})",
    )
    parser.add_argument(
        "--tables",
        type=Path,
        metavar="PATH",
        help="folder, or a wheel of aiconfigurator or aiconfigurator-core (default: the installed"
        " package aiconfigurator-core)",
    )
    fallback = parser.add_mutually_exclusive_group()
    fallback.add_argument(
        "--scale-from", metavar="GPU", help="take its tables, by the ratio of the rooflines"
    )
    fallback.add_argument(
        "--roofline", action="store_true", help="no tables: peaks only, a lower bound"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: named after what it is, in this folder"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    deployment = Deployment(
        gpu_name=gpu(given.gpu).name,
        model_name=given.model,
        tensor_parallel=given.tp,
        expert_parallel=given.ep,
        dtype=WeightDtype(given.dtype),
    )
    engine = version(given.vllm)
    if given.roofline:
        tables = roofline_profile(deployment)
    else:
        donor = None if given.scale_from is None else gpu(given.scale_from)
        tables = compile_profile(deployment, open_tables(given.tables), engine, donor)
    made = from_tables(tables, engine)
    out: Path = given.out or Path(file_name(tables))
    if out.suffix != ".npz":
        raise InvalidProfile(f"--out must end in .npz, got {out}")
    if not out.absolute().parent.is_dir():
        raise InvalidProfile(f"no such folder: {out.absolute().parent}")
    tables.write(out)
    about = tables.about
    print(f"{out}: {out.stat().st_size / 1000:.1f} kB, {about.rung}, {about.source}")
    for op, table in about.tables.items():
        print(f"  {op:<24}{table.split()[0]}")
    config = made.config
    print(
        f"  {config.num_blocks:,} blocks of {config.block_tokens} tokens, up to"
        f" {config.max_model_len:,} tokens a request, {config.max_num_batched_tokens:,} a step,"
        f" {config.max_num_seqs:,} requests"
    )
    for note in about.notes:
        print(f"  {note}")
    return 0
