"""From operator tables to a profile: sources, versions, interpolation, errors."""

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headway_sim.errors import MissingTables
from headway_sim.profiles import Rung
from headway_sim.profiles.compile import compile_profile, open_tables, roofline_profile
from headway_sim.profiles.compile.curves import Curve, Surface
from headway_sim.profiles.compile.operators import Gemm, Roofline
from headway_sim.profiles.compile.table import Table
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.gpus import gpu
from headway_sim.profiles.library import FOLDER, file_name
from headway_sim.profiles.models import WeightDtype
from headway_sim.profiles.tables import read
from headway_sim.profiles.versions import version

OF = Deployment(gpu_name="H100", model_name="Llama-3.1-8B")
ON_TWO = Deployment(gpu_name="H100", model_name="Llama-3.1-8B", tensor_parallel=2)
SHAPES = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)]
HEADS = {"num_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "kv_cache_dtype": "bfloat16"}

Columns = Mapping[str, Sequence[object]]


def gemm_rows(scale: float = 1.0, ms: Sequence[int] = (1, 1024)) -> Columns:
    rows = [(m, n, k, scale * (0.01 + 1e-9 * m * n)) for n, k in SHAPES for m in ms]
    m, n, k, latency = zip(*rows, strict=True)
    return {"gemm_dtype": ["bfloat16"] * len(m), "m": m, "n": n, "k": k, "latency": latency}


def attention_rows(axis: str) -> Columns:
    rows = [(b, x) for b in (1, 8) for x in (1, 1000)]
    batch, x = zip(*rows, strict=True)
    columns: dict[str, Sequence[object]] = {name: [value] * 4 for name, value in HEADS.items()}
    columns |= {"batch_size": batch, "latency": [0.01 + 1e-5 * b * at for b, at in rows]}
    return columns | ({"isl": x} if axis == "isl" else {"isl": [0] * 4, "step": x})


def parquet(columns: Columns) -> bytes:
    out = BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), out)
    return out.getvalue()


def files(vllm: str = "0.19.0", scale: float = 1.0) -> dict[str, bytes]:
    base = f"aiconfigurator/systems/data/h100_sxm/vllm/{vllm}"
    return {
        f"{base}/gemm_perf.parquet": parquet(gemm_rows(scale)),
        f"{base}/context_attention_perf.parquet": parquet(attention_rows("isl")),
        f"{base}/generation_attention_perf.parquet": parquet(attention_rows("step")),
    }


def as_folder(found: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_wheel_and_a_folder_give_the_same(tmp_path: Path) -> None:
    folder = as_folder(files(), tmp_path / "tables")
    wheel = tmp_path / "aiconfigurator-0.10.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files().items():
            archive.writestr(name, content)
    one, other = (compile_profile(OF, open_tables(p), version("0.19.0")) for p in (folder, wheel))
    assert one.gemm_ms == pytest.approx(other.gemm_ms)
    assert one.about.tables == other.about.tables
    assert "aiconfigurator 0.10.0" in other.about.source


@pytest.mark.parametrize(
    ("engine", "tables", "is_flagged"),
    [
        pytest.param("0.15.1", "0.14.0", False, id="the newest that is not newer"),
        pytest.param("0.24.0", "0.24.0", False, id="its own"),
        pytest.param("0.32", "0.24.0", False, id="the newest of all"),
        pytest.param("0.13", "0.14.0", True, id="the oldest, flagged, if all are newer"),
    ],
)
def test_which_version_is_taken(engine: str, tables: str, is_flagged: bool, tmp_path: Path) -> None:
    folder = as_folder(files("0.14.0") | files("0.24.0", scale=2.0), tmp_path)
    about = compile_profile(OF, open_tables(folder), version(engine)).about
    assert about.tables_version == tables
    assert any("newer than the engine" in note for note in about.notes) is is_flagged


def test_a_version_may_take_a_table_of_another_one(tmp_path: Path) -> None:
    found = files("0.24.0")
    reuse = "reuse:\n- {table: gemm_perf, from_version: 0.24.0}\n"
    found["aiconfigurator/systems/data/h100_sxm/vllm/0.22.0/reuse.yaml"] = reuse.encode()
    source = open_tables(as_folder(found, tmp_path))
    assert not source.find("h100_sxm", "gemm", version("0.22.0")).is_newer_than_engine


def test_the_layout_of_the_core_package_is_read_too(tmp_path: Path) -> None:
    found = {
        name.replace("aiconfigurator/systems/data/h100_sxm/", "x/systems/data/h100_sxm/any/"): c
        for name, c in files().items()
    }
    assert open_tables(as_folder(found, tmp_path)).systems() == {"h100_sxm"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    source = open_tables(as_folder(files(), tmp_path / "a"))
    with pytest.raises(MissingTables, match="no vllm table 'custom_allreduce' for 'h100_sxm'"):
        compile_profile(ON_TWO, source, None)
    with pytest.raises(MissingTables, match=r"for 'a100_sxm'; it has vLLM tables for h100_sxm"):
        compile_profile(Deployment(gpu_name="A100", model_name="Llama-3.1-8B"), source, None)
    in_fp8 = Deployment(gpu_name="H100", model_name="Llama-3.1-8B", dtype=WeightDtype.FP8)
    with pytest.raises(MissingTables, match="has no fp8 kernels"):
        compile_profile(in_fp8, source, None)
    with pytest.raises(MissingTables, match="there are no operator tables for MI300X"):
        compile_profile(Deployment(gpu_name="MI300X", model_name="Llama-3.1-8B"), source, None)
    with pytest.raises(MissingTables, match="no such file or folder"):
        open_tables(tmp_path / "missing.whl")
    (tmp_path / "text.whl").write_text("text")
    with pytest.raises(MissingTables, match="neither a folder nor a wheel"):
        open_tables(tmp_path / "text.whl")
    with pytest.raises(MissingTables, match="has no systems/data"):
        open_tables(as_folder({"x.txt": b""}, tmp_path / "b"))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    name = "aiconfigurator/systems/data/h100_sxm/vllm/0.19.0/gemm_perf.parquet"
    source = open_tables(as_folder(files() | {name: b"PAR1"}, tmp_path))
    with pytest.raises(MissingTables, match=r"gemm_perf\.parquet cannot be read"):
        compile_profile(OF, source, None)
    columns = dict(gemm_rows())
    del columns["k"]
    source = open_tables(as_folder(files() | {name: parquet(columns)}, tmp_path))
    with pytest.raises(MissingTables, match=r"gemm_perf\.parquet has no column 'k'"):
        compile_profile(OF, source, None)


def test_another_gpu_is_scaled_by_the_rooflines_and_flagged(tmp_path: Path) -> None:
    source = open_tables(as_folder(files(), tmp_path))
    here = compile_profile(OF, source, None)
    of = Deployment(gpu_name="H200", model_name="Llama-3.1-8B")
    there = compile_profile(of, source, None, gpu("H100"))
    assert there.about.rung is Rung.SCALED
    assert any("not validated" in note for note in there.about.notes)
    assert there.decode_ms == pytest.approx(here.decode_ms * 3.35 / 4.8)  # memory
    assert there.context_ms == pytest.approx(here.context_ms)  # equal FLOPS
    assert (there.gemm_ms <= here.gemm_ms + 1e-9).all()


def test_the_roofline_is_a_lower_bound_and_flagged() -> None:
    bound = roofline_profile(OF)
    assert bound.about.rung is Rung.ROOFLINE
    assert any("not validated" in note for note in bound.about.notes)
    # 15 GB of layers at 3.35 TB/s
    assert bound.gemm_ms[0] == pytest.approx(1e3 * 2 * OF.shape.linear_parameters / 3.35e12, 0.01)
    real = read(FOLDER / "h100-llama-3.1-8b-tp1-vllm0.24.0.npz")
    assert (bound.gemm_ms < real.gemm_ms).all()


def test_a_file_keeps_what_was_compiled(tmp_path: Path) -> None:
    made = compile_profile(OF, open_tables(as_folder(files(), tmp_path / "t")), None)
    path = tmp_path / file_name(made)
    assert path.name == "h100-llama-3.1-8b-tp1-vllm0.19.0.npz"
    made.write(path)
    again = read(path)
    assert again.about == made.about
    assert again.gemm_ms == pytest.approx(made.gemm_ms, rel=1e-6)
    before = path.read_bytes()
    made.write(path)
    assert path.read_bytes() == before


def test_a_stored_profile_is_what_its_tables_give() -> None:
    """Of the installed package, whose tables are those of vLLM 0.24."""
    of = Deployment(gpu_name="H100", model_name="Mixtral-8x7B", tensor_parallel=2)
    made = compile_profile(of, open_tables(None), version("0.32"))
    stored = read(FOLDER / file_name(made))
    assert stored.about == made.about
    for name in ("gemm_ms", "communication_ms", "context_ms", "decode_ms", "sampler_ms"):
        assert getattr(stored, name) == pytest.approx(getattr(made, name), rel=1e-5)


def test_curves_are_power_laws_between_points_and_go_on_beyond() -> None:
    curve = Curve({1.0: 1.0, 100.0: 10.0}, slope=2.0)
    at = np.array([0.5, 1.0, 10.0, 100.0, 200.0])
    assert curve(at) == pytest.approx([1.0, 1.0, 10**0.5, 10.0, 40.0])


def test_surfaces_may_be_ragged() -> None:
    batch, x = np.array([1.0, 1.0, 4.0]), np.array([1.0, 100.0, 1.0])
    surface = Surface(batch, x, np.array([1.0, 10.0, 4.0]), slope=1.0)
    grid = surface.grid(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 100.0]))
    # Batch 4 has one point and goes on with slope 1 in x; beyond it batches are proportional.
    assert grid == pytest.approx(
        np.array([[1.0, 10.0], [2.0, (10.0 * 400.0) ** 0.5], [4.0, 400.0], [8.0, 800.0]])
    )


def test_an_unmeasured_product_is_as_efficient_as_its_neighbours() -> None:
    roofline = Roofline(gpu("H100"), WeightDtype.BF16)
    shapes = [(n, k) for n in (1024, 4096) for k in (1024, 4096)]
    rows = [(m, n, k) for n, k in shapes for m in (1, 4096)]
    bounds = [float(roofline.gemm_ms(np.array([float(m)]), n, k)[0]) for m, n, k in rows]
    m, n, k = (np.array(column) for column in zip(*rows, strict=True))
    table = Table(
        "gemm",
        {
            "gemm_dtype": np.array(["bfloat16"] * len(m)),
            "m": m,
            "n": n,
            "k": k,
            "latency": 1.5 * np.array(bounds),
        },
    )
    gemm = Gemm(table, roofline)
    tokens = np.array([1.0, 64.0, 8192.0])
    expected = 1.5 * roofline.gemm_ms(tokens, 2048, 2048)
    assert gemm(tokens, 2048, 2048) == pytest.approx(expected)
