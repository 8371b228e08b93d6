"""What the engine's series show, moved by what happens in the engine.

All durations are wall seconds at the configured dilation.  Peculiarities of vLLM 0.32 that are
kept: an aborted request counts in TTFT and in the token counters, but in no per-request series;
prompt tokens count when the first token comes; ``lora_requests_info`` has a time stamp for its
value, keeps stale label sets, and lists under "waiting" the adapters that run.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

from headway_engine.clock import EngineClock
from headway_engine.generation import Generation
from headway_engine.series import label_text
from headway_engine.vllm_series import SLEEP_STATES, WAITING_REASONS, VllmSeries
from headway_sim.engine.facts import EngineStats


class EngineMetrics:
    """The driver tells it what happens; a scrape reads the text."""

    def __init__(
        self,
        *,
        model_name: str,
        max_model_len: int,
        max_loras: int | None,
        cache_config: Mapping[str, str],
        kv_blocks: bool,
        engine_clock: EngineClock,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.series = VllmSeries(model_name, max_model_len, kv_blocks=kv_blocks, clock=clock)
        self._engine_clock = engine_clock
        self._clock = clock
        self._max_loras = max_loras
        engine = {"engine": "0", "model_name": model_name}
        self._engine_labels = label_text(engine)
        self._reason_labels = [label_text({**engine, "reason": r}) for r in WAITING_REASONS]
        for state in SLEEP_STATES:
            self.series.sleep_state.set(
                1.0 if state == "awake" else 0.0, {**engine, "sleep_state": state}
            )
        self.series.cache_config.set(1.0, {"engine": "0", **cache_config})

    def first_token(self, generation: Generation, at_ns: int) -> None:
        prompt_tokens, cached_tokens = len(generation.prompt), generation.cached_tokens or 0
        series = self.series
        series.ttft.observe(self._engine_clock.wall_s(at_ns - generation.arrived_ns))
        series.prompt_tokens.add(prompt_tokens)
        series.prompt_cached.add(cached_tokens)
        series.prompt_by_source["local_cache_hit"].add(cached_tokens)
        series.prompt_by_source["local_compute"].add(prompt_tokens - cached_tokens)

    def next_token(self, generation: Generation, at_ns: int) -> None:
        assert generation.last_token_ns is not None, "the first token was told otherwise"
        self.series.itl.observe(self._engine_clock.wall_s(at_ns - generation.last_token_ns))

    def finished(self, generation: Generation, at_ns: int) -> None:
        series, wall_s = self.series, self._engine_clock.wall_s
        arrived_ns, tokens = generation.arrived_ns, generation.emitted
        scheduled_ns = arrived_ns if generation.scheduled_ns is None else generation.scheduled_ns
        first_ns = at_ns if generation.first_token_ns is None else generation.first_token_ns
        prompt_tokens = len(generation.prompt)
        series.success[generation.finish_reason or "error"].add()
        series.request_prompt_tokens.observe(prompt_tokens)
        series.request_generation_tokens.observe(tokens)
        series.params_max_tokens.observe(generation.max_tokens)
        series.e2e.observe(wall_s(at_ns - arrived_ns))
        series.queue_time.observe(wall_s(scheduled_ns - arrived_ns))
        series.inference_time.observe(wall_s(at_ns - scheduled_ns))
        series.prefill_time.observe(wall_s(first_ns - scheduled_ns))
        series.decode_time.observe(wall_s(at_ns - first_ns))
        series.tpot.observe(wall_s(at_ns - first_ns) / (tokens - 1) if tokens > 1 else 0.0)
        series.request_preemptions.observe(generation.preemptions)
        series.prefill_computed.observe(prompt_tokens - (generation.cached_tokens or 0))
        siblings = generation.siblings
        siblings.longest = max(siblings.longest, tokens)
        if siblings.unfinished == 0:
            series.max_generation_tokens.observe(siblings.longest)
            series.params_n.observe(siblings.n)

    def step(self, emitted: int, computed: int, live: Iterable[Generation]) -> None:
        """A step gave ``emitted`` tokens, and ended prefills of ``computed`` prompt tokens."""
        self.series.generation_tokens.add(emitted)
        self.series.iteration_tokens.observe(emitted + computed)
        if self._max_loras is not None:
            names = dict.fromkeys(
                g.adapter for g in live if g.adapter is not None and g.scheduled_ns is not None
            )
            listed = ",".join(names)
            labels = {
                "max_lora": str(self._max_loras),
                "running_lora_adapters": listed,
                "waiting_lora_adapters": listed,
            }
            self.series.lora_info.set(self._clock(), labels)

    def rejected(self) -> None:
        self.series.rejections["max_num_queued_reqs"].add()

    def render(self, stats: EngineStats, held: int) -> str:
        """The text; ``held``: requests that wait outside the engine model."""
        series = self.series
        capacity = stats.waiting_capacity + held
        series.running.set_text(stats.running, self._engine_labels)
        series.waiting.set_text(capacity + stats.waiting_deferred, self._engine_labels)
        for labels, value in zip(
            self._reason_labels, (capacity, stats.waiting_deferred), strict=True
        ):
            series.waiting_by_reason.set_text(value, labels)
        series.kv_usage.set_text(stats.kv_usage, self._engine_labels)
        series.prefix_queries.raise_to(stats.prefix_queries)
        series.prefix_hits.raise_to(stats.prefix_hits)
        series.prompt_cached_by_source["device"].raise_to(stats.prefix_hits)
        series.preemptions.raise_to(stats.preemptions)
        return "".join(family.render() for family in series.families)


class ProcessText:
    """``python_*`` and ``process_*``, read from the system at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        registry = CollectorRegistry()
        GCCollector(registry=registry)
        PlatformCollector(registry=registry)
        ProcessCollector(registry=registry)
        self._clock = clock
        self._render = lru_cache(maxsize=1)(lambda second: generate_latest(registry).decode())

    def render(self) -> str:
        return self._render(int(self._clock()))
