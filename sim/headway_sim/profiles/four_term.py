"""Four-term fits to operator tables: what a profile falls back to without tables of its own.

Median and p95 error over random batches, in %: 3.1-5.6 and 10.6-26.3.  L40S with tensor parallelism
is left out (its PCIe all-reduce is not what the tables measured), and so is RTX PRO 6000 with 70B,
which was not fitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headway_sim.profiles.deployment import Deployment
from headway_sim.step_model import FourTerm

HOST_MS = 0.8
"""Gap between two steps on the CPU; start value from dense models on H100, vLLM 0.15.1."""


@dataclass(frozen=True, slots=True)
class Fit:
    deployment: Deployment
    tables_version: str
    step_model: FourTerm

    @property
    def source(self) -> str:
        return (
            "four-term fit to operator tables of NVIDIA AIConfigurator (Apache-2.0,"
            f" github.com/ai-dynamo/aiconfigurator at 095f58a5), vLLM {self.tables_version}, bf16"
        )


def _fit(gpu: str, model: str, tp: int, tables: str, *coefficients: float) -> Fit:
    alpha, beta, gamma, delta = coefficients
    step_model = FourTerm(
        alpha_ms=alpha,
        beta_ms_per_prefill_token=beta,
        gamma_ms_per_sequence=gamma,
        delta_ms_per_kv_token=delta,
        host_ms=HOST_MS,
    )
    of = Deployment(gpu_name=gpu, model_name=model, tensor_parallel=tp)
    return Fit(of, tables, step_model)


_8B, _70B = "Llama-3.1-8B", "Llama-3.1-70B"

FITS: Mapping[str, Fit] = MappingProxyType(
    {
        fit.deployment.name: fit
        for fit in (
            _fit("H100", _8B, 1, "0.19.0", 5.92025, 0.0182093, 0.0113174, 4.47118e-5),
            _fit("H100", _70B, 4, "0.19.0", 14.6216, 0.0551531, 0.033924, 2.94224e-5),
            _fit("H200", _8B, 1, "0.19.0", 4.48463, 0.0181955, 0.0135406, 3.08167e-5),
            _fit("H200", _70B, 4, "0.19.0", 11.3715, 0.054989, 0.0354058, 2.19028e-5),
            _fit("A100", _8B, 1, "0.14.0", 11.0307, 0.0594799, 0.044438, 8.28897e-5),
            _fit("A100", _70B, 4, "0.14.0", 26.7386, 0.153496, 0.116474, 5.86896e-5),
            _fit("L40S", _8B, 1, "0.14.0", 21.3083, 0.0558064, 0.0354707, 1.89603e-4),
            _fit("B200", _8B, 1, "0.19.0", 3.14277, 0.00951971, 0.00593751, 1.87289e-5),
            _fit("B200", _70B, 4, "0.19.0", 8.88762, 0.03197, 0.0263942, 1.27986e-5),
            _fit("RTX-PRO-6000", _8B, 1, "0.19.0", 11.2632, 0.0433537, 0.029185, 8.97164e-5),
        )
    }
)
"""By the name of the deployment."""
