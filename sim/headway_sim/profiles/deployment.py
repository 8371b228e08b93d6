"""What a profile is about: a model on so many GPUs of a kind."""

from dataclasses import dataclass

from headway_sim.errors import InvalidProfile
from headway_sim.profiles.gpus import Gpu, gpu
from headway_sim.profiles.models import ModelShape, WeightDtype, model


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Raises: UnknownName, InvalidProfile: there can be no such engine."""

    gpu_name: str
    model_name: str
    tensor_parallel: int = 1
    """GPUs of the engine."""
    expert_parallel: bool = False
    """Whole experts are spread over the GPUs, instead of slices of every expert."""
    dtype: WeightDtype = WeightDtype.BF16

    def __post_init__(self) -> None:
        shape, tp = self.shape, self.tensor_parallel
        if tp not in (1, 2, 4, 8):
            raise InvalidProfile(f"tensor_parallel must be 1, 2, 4 or 8, got {tp}")
        if shape.heads % tp:
            raise InvalidProfile(
                f"{self.model_name} has {shape.heads} heads: no {tp} GPUs can share them equally"
            )
        fp8_flops = self.gpu.fp8_flops
        if self.dtype is WeightDtype.FP8 and fp8_flops is None:
            raise InvalidProfile(f"{self.gpu.name} has no FP8 units")
        if self.expert_parallel and shape.experts == 0:
            raise InvalidProfile(f"{self.model_name} has no experts to spread")

    @property
    def name(self) -> str:
        """``h100-llama-3.1-70b-tp4-fp8``."""
        parts = [self.gpu.name, self.model_name, f"tp{self.tensor_parallel}"]
        if self.expert_parallel:
            parts.append("ep")
        if self.dtype is not WeightDtype.BF16:
            parts.append(self.dtype)
        return "-".join(parts).lower()

    @property
    def gpu(self) -> Gpu:
        return gpu(self.gpu_name)

    @property
    def shape(self) -> ModelShape:
        return model(self.model_name)
