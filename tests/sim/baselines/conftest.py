"""A pool as a rule sees it, arranged by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

import pytest

from headway_core.events import Finished, FirstToken, Scraped
from headway_core.facts import EngineView, InferenceRequest
from headway_sim.baselines import BASELINES
from headway_sim.baselines.picker import RulePicker
from headway_sim.baselines.rule import Rule
from headway_sim.views import Views
from headway_sim.world.testing import a_fleet

BLOCK = 100


@dataclass
class Bench:
    """Endpoints a, b, c (1,000 tokens/s); requests in blocks of 100 tokens."""

    views: Views
    rng: Random = field(default_factory=lambda: Random(0))
    _ids: "count[int]" = field(default_factory=count)

    def a_request(self, blocks: Sequence[int] = (), prompt: int | None = None) -> InferenceRequest:
        return InferenceRequest(
            request_id=f"r{next(self._ids)}",
            requested_model="m",
            prompt_tokens=BLOCK * len(blocks) if prompt is None else prompt,
            blocks=tuple(blocks),
            block_tokens=BLOCK,
        )

    def send(
        self,
        endpoint: str,
        blocks: Sequence[int] = (),
        *,
        prompt: int | None = None,
        times: int = 1,
        prefilled: bool = False,
    ) -> list[str]:
        """Requests that are there; ``prefilled``: their first token has been seen."""
        ids = []
        for _ in range(times):
            request = self.a_request(blocks, prompt)
            self.views.sent(request, endpoint, now=0.0)
            ids.append(request.request_id)
            if prefilled:
                self.views.observe(FirstToken(request.request_id, endpoint), 0.0)
        return ids

    def cache(self, endpoint: str, blocks: Sequence[int]) -> None:
        """A request with these blocks was there and has ended."""
        for request_id in self.send(endpoint, blocks):
            self.views.observe(Finished(request_id), 0.0)

    def scrape(
        self,
        endpoint: str,
        *,
        waiting: int | None = None,
        running: int | None = None,
        kv_usage: float | None = None,
    ) -> None:
        view = EngineView(waiting=waiting, running=running, kv_usage=kv_usage)
        self.views.observe(Scraped(endpoint, view), 0.0)

    def rule(self, name: str, **parameters: float) -> Rule:
        picker = BASELINES[name].picker(self.rng, sees_first_tokens=True, parameters=parameters)
        assert isinstance(picker, RulePicker)
        return picker._rule

    def pick(self, rule: Rule, request: InferenceRequest, now: float = 0.0) -> str:
        return rule.route(request, self.views.serving, self.views, now)

    def picks(self, name: str, request: InferenceRequest, **parameters: float) -> set[str]:
        """Where the rule would send it, over 40 ways to break a tie."""
        found = set()
        for seed in range(40):
            self.rng = Random(seed)
            found.add(self.pick(self.rule(name, **parameters), request))
        return found


@pytest.fixture
def bench() -> Bench:
    pool = a_fleet(["a", "b", "c"], prefill_tokens_per_s=1000.0).pools[0]
    return Bench(Views(pool, sees_first_tokens=True))
