"""Which profiles come with the package: common models where they fit and tables exist."""

from collections.abc import Iterator

from headway_sim.errors import InvalidProfile, MissingTables
from headway_sim.profiles.compile.compiler import compile_profile
from headway_sim.profiles.compile.source import TableSource
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.gpus import GPUS
from headway_sim.profiles.memory import kv_blocks
from headway_sim.profiles.models import WeightDtype
from headway_sim.profiles.tables import StepTables
from headway_sim.profiles.versions import Version, text_of, version

_SIZES = {
    "Llama-3.1-8B": (1, 2),
    "Qwen3-14B": (1, 2),
    "Qwen3-32B": (1, 2, 4),
    "CodeLlama-34B": (1, 2, 4),
    "Mixtral-8x7B": (1, 2, 4),
    "Llama-2-70B": (2, 4, 8),
    "Llama-3.1-70B": (1, 2, 4, 8),
}
"""Model -> GPUs."""
_NEVER_FP8 = ("CodeLlama-34B", "Llama-2-70B")
_PCIE_GPUS = 4
_FIRST_FP8 = version("0.19.0")
"""The FP8 products of the tables of 0.14.0 are of a kernel that vLLM does not choose."""


def stock(source: TableSource, engine: Version) -> Iterator[StepTables]:
    """Those whose tables are of that very version."""
    for deployment in _deployments(engine):
        try:
            kv_blocks(deployment, engine)
            made = compile_profile(deployment, source, engine)
        except (InvalidProfile, MissingTables):
            continue
        if made.about.tables_version == text_of(engine):
            yield made


def _deployments(engine: Version) -> Iterator[Deployment]:
    for name in GPUS:
        for model_name, sizes in _SIZES.items():
            for dtype in WeightDtype:
                is_fp8 = dtype is WeightDtype.FP8
                if is_fp8 and (
                    model_name in _NEVER_FP8 or engine < _FIRST_FP8 or GPUS[name].fp8_flops is None
                ):
                    continue
                for gpus in sizes:
                    if not (GPUS[name].is_on_pcie and gpus > _PCIE_GPUS):
                        yield Deployment(
                            gpu_name=name,
                            model_name=model_name,
                            tensor_parallel=gpus,
                            dtype=dtype,
                        )
