"""The series of a vLLM 0.32 engine: names, labels and buckets, in the order in which it shows them.

Names, types, labels and buckets are those of a recorded text; the help texts are ours.  The token
histograms' buckets depend on the context's length.
"""

from collections.abc import Callable
from dataclasses import dataclass

from headway_engine.series import Counter, Family, Gauge, Histogram


def _bounds(numbers: str) -> tuple[float, ...]:
    return tuple(map(float, numbers.split()))


TTFT_S = _bounds(
    "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560"
)
ITL_S = _bounds("0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80")
REQUEST_S = _bounds("0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680")
BLOCK_S = _bounds(
    "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 20 30 60 120 300 600 1200 1800"
)
ITERATION_TOKENS = tuple(map(float, (1, *(2**k for k in range(3, 15)))))
SAMPLES = (1.0, 2.0, 5.0, 10.0, 20.0)
PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)

SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
WAITING_REASONS = ("capacity", "deferred")
PROMPT_SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
CACHE_TIERS = ("device", "host", "p2p", "disk", "external_unspecified")
FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")
REJECTIONS = ("max_num_queued_reqs", "max_num_queued_tokens")

Labels = dict[str, str]


def token_bounds(max_model_len: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20 ... up to the context's length."""
    steps = (step * 10**k for k in range(12) for step in (1, 2, 5))
    return tuple(float(step) for step in steps if step <= max_model_len)


@dataclass(frozen=True, slots=True)
class CounterKey:
    family: Counter
    key: str

    def add(self, amount: float = 1.0) -> None:
        self.family.add_text(amount, self.key)

    def raise_to(self, value: float) -> None:
        self.family.raise_to(value, self.key)


@dataclass(frozen=True, slots=True)
class HistogramKey:
    family: Histogram
    key: str

    def observe(self, value: float) -> None:
        self.family.observe(value, self.key)


class VllmSeries:
    """Every family by what it counts; ``families`` is the order of the text."""

    def __init__(
        self, model_name: str, max_model_len: int, *, kv_blocks: bool, clock: Callable[[], float]
    ) -> None:
        self._labels = {"engine": "0", "model_name": model_name}
        self._clock = clock
        self.families: list[Family] = []
        tokens = token_bounds(max_model_len)
        for unit in ("flops", "read_bytes", "write_bytes"):
            self._counter(f"estimated_{unit}_per_gpu", f"Estimated {unit} of each GPU; always 0")
        self.running = self._gauge("num_requests_running", "Requests in the running batch")
        self.waiting = self._gauge("num_requests_waiting", "Requests that wait")
        self.waiting_by_reason = self._gauge(
            "num_requests_waiting_by_reason",
            "Requests that wait for capacity, or are deferred (no adapter slot)",
        )
        self.sleep_state = self._gauge("engine_sleep_state", "1 for the state the engine is in")
        self.kv_usage = self._gauge("kv_cache_usage_perc", "KV blocks in use, 0 to 1")
        self.prefix_queries = self._counter("prefix_cache_queries", "Tokens looked up")
        self.prefix_hits = self._counter("prefix_cache_hits", "Tokens found")
        for scope in ("external_prefix", "mm"):
            for event in ("queries", "hits"):
                self._counter(f"{scope}_cache_{event}", "Not simulated; always 0")
        self.preemptions = self._counter("num_preemptions", "Preemptions")
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of prefilled requests")
        self.prompt_by_source = self._counters(
            "prompt_tokens_by_source", "Prompt tokens by where their KV is from", PROMPT_SOURCES
        )
        self.prompt_cached = self._counter("prompt_tokens_cached", "Prompt tokens found in a cache")
        self.prompt_cached_by_source = self._counters(
            "prompt_tokens_cached_by_source", "Prompt tokens found, by cache tier", CACHE_TIERS
        )
        self.generation_tokens = self._counter("generation_tokens", "Tokens generated")
        self.success = self._counters(
            "request_success",
            "Requests finished, by reason; a client's abort is none of them",
            FINISH_REASONS,
            label="finished_reason",
        )
        self.rejections = self._counters(
            "admission_rejections",
            "Requests refused by a queue limit",
            REJECTIONS,
            label="reason",
            labels={"model_name": model_name},
        )
        self._request_histograms(tokens)
        if kv_blocks:
            self.block_lifetime = self._histogram(
                "kv_block_lifetime_seconds", "From a block's first use to its eviction", BLOCK_S
            )
            self.block_idle = self._histogram(
                "kv_block_idle_before_evict_seconds", "From its last use to its eviction", BLOCK_S
            )
            self.block_reuse = self._histogram(
                "kv_block_reuse_gap_seconds", "Between two uses of a block", BLOCK_S
            )
        self.lora_info = self._gauge(
            "lora_requests_info", "When these adapters were the ones in use (a time stamp)"
        )
        self.cache_config = self._gauge("cache_config_info", "How the KV cache is configured")

    def _request_histograms(self, tokens: tuple[float, ...]) -> None:
        one = self._histogram
        self.request_prompt_tokens = one("request_prompt_tokens", "Prompt tokens", tokens)
        self.request_generation_tokens = one("request_generation_tokens", "Output tokens", tokens)
        self.iteration_tokens = one(
            "iteration_tokens_total", "Tokens of an engine step", ITERATION_TOKENS
        )
        self.max_generation_tokens = one(
            "request_max_num_generation_tokens", "Tokens of a request's longest sample", tokens
        )
        self.params_n = one("request_params_n", "n, as asked for", SAMPLES)
        self.params_max_tokens = one("request_params_max_tokens", "max_tokens", tokens)
        self.ttft = one("time_to_first_token_seconds", "Arrival to first token", TTFT_S)
        self.itl = one("inter_token_latency_seconds", "Between two tokens", ITL_S)
        self.tpot = one("request_time_per_output_token_seconds", "A request's mean ITL", ITL_S)
        self.e2e = one("e2e_request_latency_seconds", "Arrival to last token", REQUEST_S)
        self.queue_time = one("request_queue_time_seconds", "Arrival to batch", REQUEST_S)
        self.inference_time = one("request_inference_time_seconds", "Batch to end", REQUEST_S)
        self.prefill_time = one("request_prefill_time_seconds", "Batch to first token", REQUEST_S)
        self.decode_time = one("request_decode_time_seconds", "First to last token", REQUEST_S)
        self.request_preemptions = one("request_num_preemptions", "Preemptions", PREEMPTIONS)
        self.prefill_computed = one(
            "request_prefill_kv_computed_tokens", "Prompt tokens that were not cached", tokens
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        family = Gauge(f"vllm:{name}", text)
        self.families.append(family)
        return family

    def _counter(self, name: str, text: str) -> CounterKey:
        family = Counter(f"vllm:{name}", text, self._clock)
        self.families.append(family)
        return CounterKey(family, family.touch(self._labels))

    def _counters(
        self,
        name: str,
        text: str,
        values: tuple[str, ...],
        label: str = "source",
        labels: Labels | None = None,
    ) -> dict[str, CounterKey]:
        family = Counter(f"vllm:{name}", text, self._clock)
        self.families.append(family)
        shared = self._labels if labels is None else labels
        return {v: CounterKey(family, family.touch({**shared, label: v})) for v in values}

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> HistogramKey:
        family = Histogram(f"vllm:{name}", text, bounds, self._clock)
        self.families.append(family)
        return HistogramKey(family, family.touch(self._labels))
