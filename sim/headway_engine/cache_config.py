"""Labels of ``vllm:cache_config_info``: all that 0.32 has, the fixed ones as recorded."""

from headway_engine.settings import Settings

_FIXED = {
    "_block_size_resolved": "True",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
}


def cache_config(settings: Settings) -> dict[str, str]:
    engine, flags = settings.engine, settings.flags
    tokens = engine.num_blocks * engine.block_tokens
    return {
        **_FIXED,
        "block_size": str(engine.block_tokens),
        "effective_attention_block_size": str(engine.block_tokens),
        "enable_prefix_caching": str(engine.prefix_caching),
        "kv_cache_max_concurrency": str(tokens / engine.max_model_len),
        "kv_cache_size_tokens": str(tokens),
        "num_gpu_blocks": str(engine.num_blocks),
        "num_gpu_blocks_override": str(flags.num_gpu_blocks_override),
        "prefix_caching_hash_algo": flags.prefix_caching_hash_algo,
        "user_specified_block_size": str(flags.block_size is not None),
    }
