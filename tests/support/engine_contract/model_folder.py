"""A two-layer Llama with random weights and its LoRA adapters, small enough for one CPU core.

The folder has a configuration, a byte-level BPE tokenizer of 849 tokens and a chat template, but no
weights: a real vLLM makes them up (``--load-format dummy``), always the same ones.  The tokenizer
is trained on a fixed random text, so that every machine gets the token ids of the recordings.
"""

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 849
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
LAYERS, HIDDEN, KV_WIDTH, RANK = 2, 128, 64, 8

_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had
an they which one you were all her she there would their we him been has when who will no more if
out so said what up its about than into them can only other time new some could these two may first
then do any like my now over such our man me even most made after also did many off before must well
back through years where much your way down should because long each just state those people mr how
too little good world make very year still see own work men day get here old life both between being
under three never know same last another while us might great go come since against right came take
used himself few house use place during high without again home around small however found mrs part
school thought went say general once upon number left night until always away something fact water
though less public put think almost hand enough far took head yet government system set better told
nothing end why called find going look asked later knew
"""


def write_model(folder: Path) -> None:
    """Writes a folder that ``--model`` accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    special = {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
    }
    special_ids = {"bos_token_id": 0, "eos_token_id": 3, "pad_token_id": 4}
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(folder / "generation_config.json", special_ids)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
            **special,
        },
    )
    _write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": HIDDEN,
            "intermediate_size": 256,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "hidden_act": "silu",
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "vocab_size": 896,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "attention_bias": False,
            "mlp_bias": False,
            "initializer_range": 0.02,
            **special_ids,
        },
    )


def write_adapter(folder: Path, seed: int) -> None:
    """Writes a LoRA adapter of rank 8 with random weights for the model of `write_model`."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[int, int]] = {}
    for layer in range(LAYERS):
        for module, width in (("q_proj", HIDDEN), ("v_proj", KV_WIDTH)):
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            shapes[f"{prefix}.lora_A.weight"] = (RANK, HIDDEN)
            shapes[f"{prefix}.lora_B.weight"] = (width, RANK)
    _write_safetensors(folder / "adapter_model.safetensors", shapes, Random(seed))
    _write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": RANK,
            "lora_alpha": 16,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": ["q_proj", "v_proj"],
            "base_model_name_or_path": "tiny",
            "inference_mode": True,
            "fan_in_fan_out": False,
            "modules_to_save": None,
        },
    )


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    rng, words = Random(0), _WORDS.split()
    text = [" ".join(rng.choice(words) for _ in range(20)) for _ in range(2000)]
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    if (size := tokenizer.get_vocab_size()) != VOCABULARY:
        raise ValueError(f"the trained vocabulary must have {VOCABULARY} tokens, got {size}")
    return tokenizer


def _write_safetensors(path: Path, shapes: dict[str, tuple[int, int]], rng: Random) -> None:
    """The safetensors format: length of the header, JSON header, raw little-endian numbers."""
    header: dict[str, Any] = {}
    numbers = bytearray()
    for name, (rows, columns) in shapes.items():
        start = len(numbers)
        values = [rng.gauss(0.0, 0.05) for _ in range(rows * columns)]
        numbers += struct.pack(f"<{len(values)}f", *values)
        header[name] = {
            "dtype": "F32",
            "shape": [rows, columns],
            "data_offsets": [start, len(numbers)],
        }
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(numbers))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
