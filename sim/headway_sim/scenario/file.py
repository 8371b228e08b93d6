"""From a scenario file to a `Scenario`; nothing is guessed, nothing unknown is passed over."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

import headway_api
from headway_api import InvalidDocuments, Problem
from headway_api.nodes import Node, plain
from headway_api.yaml_tree import Unreadable, read_trees
from headway_core.facts import Slo
from headway_core.policy import Fleet
from headway_sim.errors import InvalidScenario
from headway_sim.profiles.profile import PROFILE_SUFFIX
from headway_sim.scenario.faults import faults
from headway_sim.scenario.parts import engines, setting, workload
from headway_sim.scenario.problems import InvalidScenarioFile, Places
from headway_sim.scenario.scenario import Scenario
from headway_sim.scenario.shapes import JudgedShape, ScenarioShape


def load(path: Path) -> Scenario:
    """Files that it names are looked for from its own folder.

    Raises: InvalidScenarioFile: naming file, line, field and what is allowed.
    """
    shape, places = _shape(path)
    folder = path.parent
    with places.of("config"):
        fleet = _fleet(folder / shape.config)
    with places.of("engines"):
        specs = engines(fleet, shape.engines, folder)
    with places.of("workload"):
        load_of = workload(shape.workload, folder)
    with places.of("faults"):
        planned = faults(fleet, shape.faults)
    with places.of("observation"):
        world = setting(shape, planned)
    with places.of("policy"):
        return Scenario(
            name=path.stem,
            fleet=fleet,
            engines=specs,
            workload=load_of,
            setting=world,
            policy=shape.policy,
            parameters=shape.parameters,
            model=shape.model,
            slo=_judged(shape.slo),
            tpot_slo_s=shape.slo.tpot_seconds,
            literal_engines=shape.literal_engines,
            until_s=shape.until_seconds,
        )


def config_folder(path: Path) -> Path:
    """Where the documents of that scenario file are.  Raises: InvalidScenarioFile."""
    return path.parent / _shape(path)[0].config


def engine_files(path: Path) -> tuple[Path, ...]:
    """Profiles and constants that it names by file.  Raises: InvalidScenarioFile."""
    shape, _ = _shape(path)
    named = [engine.profile.partition("@")[0] for engine in shape.engines]
    files = [name for name in named if name.endswith(PROFILE_SUFFIX)]
    files += [engine.constants for engine in shape.engines if engine.constants is not None]
    return tuple(path.parent / name for name in files)


def documents(folder: Path) -> dict[str, bytes]:
    """The documents of a folder, by file name: its own ``.yaml`` and ``.yml`` files.

    Raises: InvalidScenario: it cannot be read.
    """
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml"))
        return {str(file): file.read_bytes() for file in files}
    except OSError as error:
        raise InvalidScenario(f"{folder} cannot be read: {error.strerror}") from error


def _shape(path: Path) -> tuple[ScenarioShape, Places]:
    root = _root(path)
    places = Places(str(path), root)
    try:
        return ScenarioShape.model_validate(plain(root)), places
    except ValidationError as error:
        raise InvalidScenarioFile(places.problems(error, ScenarioShape)) from error


def _root(path: Path) -> Node:
    try:
        text = path.read_text(encoding="utf-8")
        trees = list(read_trees(text))
    except OSError as error:
        raise InvalidScenarioFile([_of_file(path, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise InvalidScenarioFile([_of_file(path, "is not UTF-8 text")]) from error
    except Unreadable as error:
        raise InvalidScenarioFile([error.finding.of(str(path))]) from error
    if len(trees) != 1:
        raise InvalidScenarioFile([_of_file(path, f"has {len(trees)} documents, one is wanted")])
    if trees[0].findings:
        raise InvalidScenarioFile([finding.of(str(path)) for finding in trees[0].findings])
    return trees[0].root


def _of_file(path: Path, problem: str) -> Problem:
    return Problem(file=str(path), problem=problem)


def _fleet(folder: Path) -> Fleet:
    try:
        return headway_api.compile(headway_api.read(documents(folder), origin=str(folder)))
    except InvalidDocuments as error:
        problems: Sequence[Problem] = error.problems
        raise InvalidScenarioFile(list(problems)) from error


def _judged(shape: JudgedShape) -> Slo | None:
    if shape.ttft_seconds is None:
        return None
    return Slo(ttft_s=shape.ttft_seconds, ttft_s_per_1k_tokens=shape.ttft_seconds_per_1k_tokens)
