"""Random engines and requests for the lockstep, and what both sides tell of them."""

from dataclasses import dataclass
from random import Random

from headway_sim.engine import EngineConfig, SchedulingPolicy

BLOCK_TOKENS = 16
STOP_TOKEN = 7
ADAPTERS = ("chat", "sql")


@dataclass(frozen=True, slots=True)
class Job:
    request_id: str
    prompt: tuple[int, ...]
    output: tuple[int, ...]
    stop: bool
    """Its last output token is the stop token, before the limit that the scheduler knows."""
    priority: int
    adapter: str | None
    arrives_step: int
    aborts_step: int | None


@dataclass(frozen=True, slots=True)
class Composed:
    scheduled: dict[str, int]
    preempted: set[str]


@dataclass(frozen=True, slots=True)
class Completed:
    tokens: set[tuple[str, str | None]]
    """(request, reason why it ended)."""
    events: list[tuple[object, ...]]
    """KV cache events, in order: blocks stored with their parent, or one block removed."""


@dataclass(frozen=True, slots=True)
class State:
    running: list[str]
    waiting: list[str]
    deferred: set[str]
    free: list[tuple[int, int | None]]
    """(block, hash), the next to be reused first."""


def random_config(rng: Random) -> EngineConfig:
    max_model_len = rng.choice([64, 160, 320])
    return EngineConfig(
        block_tokens=BLOCK_TOKENS,
        num_blocks=max_model_len // BLOCK_TOKENS + 1 + rng.randint(0, 30),
        max_num_seqs=rng.randint(1, 6),
        max_num_batched_tokens=rng.choice([64, 100, 200, 512]),
        max_model_len=max_model_len,
        prefix_caching=rng.random() < 0.85,
        async_scheduling=rng.random() < 0.7,
        policy=rng.choice(list(SchedulingPolicy)),
        reserve_full_prompt=rng.random() < 0.7,
        long_prefill_threshold=rng.choice([0, 0, 40]),
        max_loras=rng.choice([0, 1]),
    )


def random_jobs(rng: Random, config: EngineConfig) -> list[Job]:
    """Prompts that often share a beginning, and together need more blocks than there are."""
    texts = [_tokens(rng, config.max_model_len) for _ in range(3)]
    jobs = []
    for number in range(rng.randint(1, 14)):
        prompt_tokens = rng.randint(1, config.max_model_len - 1)
        shared = rng.randint(0, prompt_tokens)
        prompt = rng.choice(texts)[:shared] + _tokens(rng, prompt_tokens - shared)
        output = _tokens(rng, rng.randint(1, config.max_model_len - prompt_tokens))
        stop = rng.random() < 0.3
        arrives = rng.choice([0, 0, 1, 2, 5, 20, 60])
        jobs.append(
            Job(
                request_id=f"r{number}",
                prompt=prompt,
                output=(*output[:-1], STOP_TOKEN) if stop else output,
                stop=stop,
                priority=rng.randint(-1, 1) if config.policy is SchedulingPolicy.PRIORITY else 0,
                adapter=rng.choice([None, *ADAPTERS]) if config.max_loras else None,
                arrives_step=arrives,
                aborts_step=rng.choice([None] * 4 + [arrives + rng.randint(0, 60)]),
            )
        )
    return jobs


def _tokens(rng: Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(1000, 30000) for _ in range(count))
