"""What is known of a GPU besides its operator tables: memory, peaks, how its kind is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headway_sim.errors import UnknownName

_GIB = 1 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Peaks are of dense arithmetic, without sparsity."""

    name: str
    system: str | None
    """Folder of its tables in AIConfigurator; None: it has none."""
    memory_bytes: int
    memory_bytes_per_s: float
    bf16_flops: float
    fp8_flops: float | None
    """None: no FP8 units."""
    link_bytes_per_s: float
    """To the other GPUs of its node, in one direction."""
    is_on_pcie: bool = False
    """No NVLink: beyond two GPUs vLLM reduces with NCCL, and the host decides how fast."""


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        gpu.name: gpu
        for gpu in (
            Gpu(
                name="A100",
                system="a100_sxm",
                memory_bytes=80 * _GIB,
                memory_bytes_per_s=2.039e12,
                bf16_flops=312e12,
                fp8_flops=None,
                link_bytes_per_s=300e9,
            ),
            Gpu(
                name="B200",
                system="b200_sxm",
                memory_bytes=180 * _GIB,
                memory_bytes_per_s=8.0e12,
                bf16_flops=2250e12,
                fp8_flops=4500e12,
                link_bytes_per_s=900e9,
            ),
            Gpu(
                name="H100",
                system="h100_sxm",
                memory_bytes=80 * _GIB,
                memory_bytes_per_s=3.35e12,
                bf16_flops=989e12,
                fp8_flops=1979e12,
                link_bytes_per_s=450e9,
            ),
            Gpu(
                name="H200",
                system="h200_sxm",
                memory_bytes=141 * _GIB,
                memory_bytes_per_s=4.8e12,
                bf16_flops=989e12,
                fp8_flops=1979e12,
                link_bytes_per_s=450e9,
            ),
            Gpu(
                name="L40S",
                system="l40s",
                memory_bytes=46068 * _MIB,
                memory_bytes_per_s=0.864e12,
                bf16_flops=362e12,
                fp8_flops=733e12,
                link_bytes_per_s=32e9,
                is_on_pcie=True,
            ),
            Gpu(
                name="MI300X",
                system=None,
                memory_bytes=192 * _GIB,
                memory_bytes_per_s=5.3e12,
                bf16_flops=1307e12,
                fp8_flops=2615e12,
                link_bytes_per_s=448e9,
            ),
            Gpu(
                name="RTX-PRO-6000",
                system="rtx_pro_6000_server",
                memory_bytes=97887 * _MIB,
                memory_bytes_per_s=1.597e12,
                bf16_flops=503e12,
                fp8_flops=1000e12,
                link_bytes_per_s=64e9,
                is_on_pcie=True,
            ),
        )
    }
)
"""Memory and links: GPU sheets of AIConfigurator 0.12.0 (Apache-2.0); MI300X: AMD's data sheet."""


def gpu(name: str) -> Gpu:
    """By name in any case.  Raises: UnknownName."""
    for known in GPUS.values():
        if known.name.lower() == name.lower():
            return known
    raise UnknownName("GPU", name, GPUS)
