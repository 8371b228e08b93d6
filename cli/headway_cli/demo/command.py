"""The course of a demo: choose the dilation, measure both arms, report, and end cleanly."""

import asyncio
import signal
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headway_cli.demo.arms import Outcome, Running, measure, running
from headway_cli.demo.dilation import available_cores, choose_dilation, reference_cpu_s
from headway_cli.demo.errors import DemoError, MachineTooBusy
from headway_cli.demo.experiment import Experiment, Source
from headway_cli.demo.report import NAMES, Json, as_json, as_table, percentile, reasons
from headway_cli.demo.settings import Settings, parse
from headway_cli.demo.stay import stay
from headway_router.envoy import GatewayPolicy

POLICIES = (GatewayPolicy.ROUND_ROBIN, GatewayPolicy.ROUTED)
MAX_LAG_S = 0.02
"""Wall seconds, p99.  Above it the times say more of this machine than of the engines."""

SIGNALLED = 128
"""Added to the signal's number, as shells do."""


class Lagged(Exception):
    """The event loop was late, so the arm is void."""

    def __init__(self, lag_s: float) -> None:
        super().__init__(f"event-loop lag p99 was {1000 * lag_s:.0f} ms")


def main(arguments: list[str]) -> int:
    """0: done.  1: a process failed.  2: the user must act.  3: the machine is too busy."""
    console = Console()
    try:
        asyncio.run(_run(parse(arguments), console))
    except DemoError as error:
        return _tell(error, console)
    except BaseExceptionGroup as group:
        return _tell(_demo_error(group), console)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except asyncio.CancelledError:
        return SIGNALLED + signal.SIGTERM
    return 0


async def _run(settings: Settings, console: Console) -> None:
    """Raises: DemoError, possibly in a group; CancelledError on SIGTERM."""
    main_task = asyncio.current_task()
    assert main_task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main_task.cancel)
    source = Source(settings)
    dilation = _dilation(source, settings)
    try:
        await _compare(source, dilation, settings, console)
    except Lagged as lagged:
        console.print(f"{lagged}: both runs are repeated at double dilation")
        try:
            await _compare(source, 2 * dilation, settings, console)
        except Lagged as again:
            raise MachineTooBusy(f"{again}, also at dilation {2 * dilation:g}") from again


def _dilation(source: Source, settings: Settings) -> float:
    experiment = source.experiment(60 * settings.minutes / source.minimum_dilation)
    return choose_dilation(
        experiment.requests,
        experiment.duration_s,
        minimum=source.minimum_dilation,
        cpu_s=reference_cpu_s(),
        cores=available_cores(),
    )


async def _compare(source: Source, dilation: float, settings: Settings, console: Console) -> None:
    """Both arms, with the same requests at the same dilation.

    Raises:
        Lagged: after the first arm that did.
    """
    experiment = source.experiment(60 * settings.minutes / dilation)
    outcomes = []
    for policy in POLICIES:
        async with running(policy, experiment.fleet, dilation) as arm:
            outcome = await _measured(arm, experiment, console)
            lag_s = percentile(outcome.lag_samples_s, 99)
            if lag_s is not None and lag_s > MAX_LAG_S:
                raise Lagged(lag_s)
            outcomes.append(outcome)
            if policy is POLICIES[-1]:
                report = as_json(experiment, settings.seed, dilation, outcomes)
                _show(report, reasons(outcomes), settings, console)
                if settings.stay:
                    await stay(arm, console)


async def _measured(arm: Running, experiment: Experiment, console: Console) -> Outcome:
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(NAMES[arm.policy], total=len(experiment.requests))
        return await measure(arm, experiment.requests, lambda _: progress.advance(task))


def _show(report: Json, failures: Sequence[str], settings: Settings, console: Console) -> None:
    console.print(as_table(report))
    for line in failures:
        console.print(line, markup=False, highlight=False)
    if settings.json is not None:
        settings.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def _tell(error: DemoError, console: Console) -> int:
    console.print(f"headway demo: {error}", style="red", markup=False, highlight=False)
    return error.exit_code


def _demo_error(group: BaseExceptionGroup[BaseException]) -> DemoError:
    """The first that is ours.

    Raises:
        BaseExceptionGroup: the group itself, if none is.
    """
    for error in group.exceptions:
        if isinstance(error, DemoError):
            return error
        if isinstance(error, BaseExceptionGroup) and error.subgroup(DemoError):
            return _demo_error(error)
    raise group
