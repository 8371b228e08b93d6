"""Adds the operators of all layers up to the tables of a profile.

    layer = gemm(m, (nh + 2 nkv) hd, h) + gemm(m, h, nh hd)                  attention's matrices
          + gemm(m, 2 f, h) + gemm(m, h, f)     or     experts(m)
          + 2 all_reduce(m h)                                                on several GPUs
          + m (16 h + 4 (nh + 2 nkv) hd + 6 f) bytes / (0.8 bandwidth) + 4 launches of 2 us
          + attention over context and over generated tokens
    head  = gemm(sampled, V / GPUs, h) + 44 sampled V bytes / (0.8 bandwidth)

with nh, nkv and f of one GPU's share.  A layer of experts has no f term, and 5 launches.  The 44
bytes are what sampling at a temperature reads and writes for every logit, on every GPU: to float32
(6), temperature (8), softmax (10), exponential noise, division and argmax (20); ``v1/sample`` of
vLLM.  Sorting for top-p depends on the engine's version, and is priced with it (`OperatorStep`).
"""

import numpy as np

from headway_sim.profiles.compile.prices import Bounds, Prices, Tabled, heads
from headway_sim.profiles.compile.source import TableSource
from headway_sim.profiles.compile.table import Floats
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.gpus import Gpu
from headway_sim.profiles.tables import About, Rung, StepTables
from headway_sim.profiles.versions import Version, graph_sizes

_LARGEST_GRAPH = 1024
_LARGEST_BATCH = 32768
_BANDWIDTH_SHARE = 0.8
_LAUNCH_MS = 0.002
_LAUNCHES, _LAUNCHES_OF_EXPERTS = 4, 5
_SAMPLING_BYTES = 44


def compile_profile(
    deployment: Deployment, source: TableSource, engine: Version | None, donor: Gpu | None = None
) -> StepTables:
    """For an engine of that version; None: of the newest tables.

    ``donor``: scale the tables of that GPU, instead of those of the deployment's own.
    Raises: MissingTables.
    """
    origin = donor or deployment.gpu
    prices = Tabled(deployment, source, engine, origin)
    costs = _costs(deployment, prices)
    notes = list(dict.fromkeys(prices.notes))
    if donor is not None:
        notes.insert(0, f"scaled from {donor.name} by the ratio of rooflines: not validated")
    return StepTables(
        about=About(
            deployment=deployment,
            rung=Rung.SCALED if donor else Rung.TABLES,
            tables_version=prices.used["gemm"].version,
            source=f"derived from operator tables of NVIDIA AIConfigurator ({source.label})",
            licence="Apache-2.0",
            tables={op: f"{t.version} {t.sha256}" for op, t in sorted(prices.used.items())},
            notes=tuple(notes),
        ),
        **costs,
    )


def roofline_profile(deployment: Deployment) -> StepTables:
    """From peaks alone: a bound, not a prediction."""
    about = About(
        deployment=deployment,
        rung=Rung.ROOFLINE,
        tables_version=None,
        source="peaks of the GPU's data sheet",
        licence="Apache-2.0",
        tables={},
        notes=("a lower bound: not validated",),
    )
    return StepTables(about=about, **_costs(deployment, Bounds(deployment)))


def _costs(of: Deployment, prices: Prices) -> dict[str, Floats]:
    shape, gpus = of.shape, of.tensor_parallel
    nh, nkv, head_dim = heads(of)
    h, qkv, f = shape.hidden, (nh + 2 * nkv) * head_dim, shape.intermediate // gpus
    m = _tokens()
    layer = prices.gemm(m, qkv, h) + prices.gemm(m, h, nh * head_dim)
    moved = 16 * h + 4 * qkv
    launches = _LAUNCHES
    if shape.experts:
        layer = layer + prices.experts(m)
        launches = _LAUNCHES_OF_EXPERTS
    else:
        layer = layer + prices.gemm(m, 2 * f, h) + prices.gemm(m, h, f)
        moved += 6 * f
    bandwidth = _BANDWIDTH_SHARE * of.gpu.memory_bytes_per_s
    elementwise = 1e3 * m * moved / bandwidth + launches * _LAUNCH_MS
    communication = 2 * prices.all_reduce(m * h) if gpus > 1 else np.zeros_like(m)
    context_batches, context_tokens, context = prices.context()
    decode_batches, decode_kv, decode = prices.generation()
    sampled = np.array(graph_sizes(_LARGEST_GRAPH), dtype=np.float64)
    return {
        "tokens": m,
        "gemm_ms": shape.layers * layer,
        "elementwise_ms": shape.layers * elementwise,
        "communication_ms": shape.layers * communication,
        "context_batches": context_batches,
        "context_tokens": context_tokens,
        "context_ms": shape.layers * context,
        "decode_batches": decode_batches,
        "decode_kv_tokens": decode_kv,
        # More to read never takes less time; what the tables say against it is noise.
        "decode_ms": shape.layers * np.maximum.accumulate(decode, axis=1),
        "sampled": sampled,
        "sampler_ms": (
            prices.gemm(sampled, shape.vocabulary // gpus, h)
            + 1e3 * sampled * shape.vocabulary * _SAMPLING_BYTES / bandwidth
        ),
    }


def _tokens() -> Floats:
    """Every size of a CUDA graph, then eight a doubling."""
    beyond = _LARGEST_GRAPH * 2.0 ** (np.arange(1, 41) / 8)
    sizes = [*graph_sizes(_LARGEST_GRAPH), *np.rint(beyond[beyond <= _LARGEST_BATCH]).tolist()]
    return np.array(sizes, dtype=np.float64)
