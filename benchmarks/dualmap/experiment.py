"""The experiment: which arms are tried on which beds, most wanted first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.dualmap import beds, parts
from benchmarks.dualmap.arms import (
    BASELINES,
    DUALMAP,
    DUALMAP_ABLATIONS,
    FIRST_TOKENS,
    HEADWAY,
    HEADWAY_ALL,
    HEADWAY_PAIR,
    MIN_TTFT,
    NO_HOLD,
    ORDERS,
    VIEW_AGES_S,
    Arm,
    aged,
)
from benchmarks.dualmap.beds import ASCEND, H100, Bed, Load
from benchmarks.dualmap.lab import Lab

Part = Callable[[Lab], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything."""

    seeds: int = 5
    windows: int = beds.WINDOWS
    window: int = beds.WINDOW
    window_warm_up: int = beds.WINDOW_WARM_UP
    whole: int = beds.WHOLE
    whole_warm_up: int = beds.WHOLE_WARM_UP

    def bed(self, load: Load, hardware: beds.Hardware, base_per_s: float) -> Bed:
        return Bed(
            load=load,
            hardware=hardware,
            base_per_s=base_per_s,
            window=self.window,
            window_warm_up=self.window_warm_up,
            windows=self.windows,
        )

    def in_one(self, bed: Bed) -> Bed:
        """The same bed as a single long window."""
        return replace(bed, window=self.whole, window_warm_up=self.whole_warm_up, windows=1)


QUICK = Size(seeds=2, windows=2, window=100, window_warm_up=20, whole=200, whole_warm_up=40)

_BY_NAME = {arm.name: arm for arm in BASELINES}
MAIN = (HEADWAY, DUALMAP, MIN_TTFT, *(_BY_NAME[name] for name in ("sglang", "lmetric")))
BEST = _BY_NAME["llmd-blend"]
"""Of the baselines on the conversation trace, by one tie seed; chosen afterwards, so against us."""
CANDIDATES = (HEADWAY_PAIR, HEADWAY_ALL)


def full(folder: Path, size: Size) -> Mapping[str, Part]:
    """By name, in the order in which they are wanted.  ``folder``: of the traces."""
    real, made_up = beds.conversation(folder), beds.stand_in(folder)
    conversation = size.bed(real, ASCEND, 8.0)
    stand_in = size.bed(made_up, ASCEND, 14.0)
    conversation_h100 = size.bed(real, H100, 40.0)
    stand_in_h100 = size.bed(made_up, H100, 80.0)
    rest = [arm for arm in BASELINES if arm not in MAIN]
    blind = [arm.seeing(*seen) for arm in (HEADWAY, DUALMAP) for seen in FIRST_TOKENS.items()]
    past = [conversation.rate_per_s(number) for number in (-4, 0, 4, 8)]
    all_main = partial(parts.knees, arms=MAIN)
    return {
        "conversation": partial(all_main, bed=conversation, seeds=size.seeds),
        "baselines": partial(parts.knees, bed=conversation, arms=(HEADWAY, *rest), seeds=1),
        "best-baseline": partial(
            parts.knees, bed=conversation, arms=(HEADWAY, BEST), seeds=size.seeds
        ),
        "best-baseline-elsewhere": partial(
            _on_all, arms=(HEADWAY, BEST), beds=(conversation_h100, stand_in, stand_in_h100)
        ),
        "candidates": partial(
            parts.knees, bed=conversation, arms=(HEADWAY, *CANDIDATES), seeds=size.seeds
        ),
        "past-the-knee": partial(
            parts.at_rates, bed=conversation, arms=(*MAIN, *CANDIDATES), rates=past
        ),
        "stale-views": partial(_stale, bed=conversation, rate_per_s=conversation.rate_per_s(0)),
        "first-tokens": partial(parts.knees, bed=conversation, arms=(HEADWAY, *blind), seeds=1),
        "conversation-h100": partial(all_main, bed=conversation_h100, seeds=size.seeds),
        "stand-in": partial(all_main, bed=stand_in, seeds=size.seeds),
        "stand-in-h100": partial(all_main, bed=stand_in_h100, seeds=size.seeds),
        "candidates-elsewhere": partial(
            _on_all, arms=(HEADWAY, *CANDIDATES), beds=(conversation_h100, stand_in, stand_in_h100)
        ),
        "losing": partial(_losing, size=size, recorded=real),
        "whole": partial(
            parts.whole,
            bed=size.in_one(conversation),
            arms=(*MAIN, *CANDIDATES),
            rates=[conversation.rate_per_s(number) for number in (-4, 0, 8)],
        ),
        "orders": partial(
            parts.at_rates, bed=conversation, arms=(HEADWAY, NO_HOLD, *ORDERS), rates=[8.0]
        ),
        "ablations": partial(
            parts.at_rates, bed=conversation, arms=(DUALMAP, *DUALMAP_ABLATIONS), rates=[8.0]
        ),
    }


def quick(folder: Path, size: Size) -> Mapping[str, Part]:
    """A small form of it all on a made-up trace: shows that it runs, says nothing."""
    load = beds.trace("sample", "a made-up trace", folder / "sample.jsonl", 4.0, 2.0)
    bed = size.bed(load, replace(ASCEND, ttft_s=1.5), 30.0)
    arms = (HEADWAY, DUALMAP)
    rates = [bed.rate_per_s(number) for number in (0, 24)]
    return {
        "conversation": partial(parts.knees, bed=bed, arms=arms, seeds=size.seeds),
        "past-the-knee": partial(parts.at_rates, bed=bed, arms=arms, rates=rates),
        "stale-views": partial(_stale, bed=bed, rate_per_s=rates[1]),
        "whole": partial(parts.whole, bed=size.in_one(bed), arms=arms, rates=rates),
    }


def _on_all(lab: Lab, *, arms: Sequence[Arm], beds: Sequence[Bed]) -> list[dict[str, Any]]:
    return [row for bed in beds for row in parts.knees(lab, bed, arms, 1)]


def _stale(lab: Lab, *, bed: Bed, rate_per_s: float) -> dict[str, Any]:
    """Everybody with every age of the view; the first row of an arm has none."""
    by_age = {0: (*MAIN, *CANDIDATES)}
    by_age |= {age: tuple(aged(arm, age) for arm in by_age[0]) for age in VIEW_AGES_S}
    return {str(age): parts.at_rates(lab, bed, arms, [rate_per_s]) for age, arms in by_age.items()}


def _losing(lab: Lab, *, size: Size, recorded: Load) -> dict[str, Any]:
    """Where there is little to win, or something to lose."""
    arms = (HEADWAY, DUALMAP, MIN_TTFT, _BY_NAME["sglang"], _BY_NAME["least-requests"])
    five = replace(size, windows=min(5, size.windows))
    cold = size.bed(beds.cold_replica(recorded), ASCEND, 8.0)
    spare = size.bed(recorded, ASCEND, 8.0)
    return {
        "knees": [
            row
            for bed in (
                five.bed(beds.NO_SHARED_PREFIX, ASCEND, 8.0),
                five.bed(beds.HOT_PROMPT, ASCEND, 40.0),
                cold,
            )
            for row in parts.knees(lab, bed, arms, 1)
        ],
        "spare-capacity": parts.at_rates(lab, spare, arms, [2.0]),
        "decode-heavy": parts.at_rates(
            lab, five.bed(beds.DECODE_HEAVY, ASCEND, 20.0), arms, [20.0]
        ),
    }
