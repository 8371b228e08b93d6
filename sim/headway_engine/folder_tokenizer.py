"""The tokenizer and chat template of a model folder, as vLLM would load them.

Read are ``tokenizer.json``, ``tokenizer_config.json`` (special tokens, chat template),
``chat_template.jinja`` and ``generation_config.json``; there is no need for weights.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from headway_engine.errors import SettingsInvalid, bad_request
from headway_engine.token_ids import TokenIds


class FolderTokenizer:
    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise SettingsInvalid(f"--model: {folder} has no tokenizer.json")
        self._tokenizer = Tokenizer.from_file(str(path))
        config = _json(folder / "tokenizer_config.json")
        self._special = {
            name: _token_text(config.get(name)) for name in ("bos_token", "eos_token", "pad_token")
        }
        self._template = _template(folder, config)
        tokens: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        # The model's table is padded; ids of the padding are legal in prompts.
        padded = _json(folder / "config.json").get("vocab_size")
        self.vocabulary_size = max(tokens, padded if isinstance(padded, int) else 0)
        self.eos_token_id = self._eos(folder)
        added = set(self._tokenizer.get_added_tokens_decoder())
        self.generated_ids: Sequence[int] = [i for i in range(tokens) if i not in added]

    def encode(self, text: str) -> TokenIds:
        return array("I", self._tokenizer.encode(text).ids)

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> TokenIds:
        if self._template is None:
            raise bad_request("the model folder has no chat template; use /v1/completions")
        try:
            text = self._template.render(
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                **self._special,
            )
        except jinja2.TemplateError as error:
            raise bad_request(f"the chat template refused the messages: {error}") from error
        return array("I", self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def token_text(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""

    def stream(self) -> "FolderStream":
        return FolderStream(self._tokenizer)

    def _eos(self, folder: Path) -> int | None:
        """vLLM stops at the ids of the generation configuration, else at the eos token."""
        configured = _json(folder / "generation_config.json").get("eos_token_id")
        if isinstance(configured, list):
            configured = configured[0] if configured else None
        if isinstance(configured, int):
            return configured
        name = self._special["eos_token"]
        return None if name is None else self._tokenizer.token_to_id(name)


class FolderStream:
    """Text of one sequence, token by token; "" while a UTF-8 sequence is incomplete."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def step(self, token: int) -> str:
        return self._stream.step(self._tokenizer, token) or ""


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text())
    except ValueError as error:
        raise SettingsInvalid(f"--model: {path} is not JSON: {error}") from error
    return loaded if isinstance(loaded, dict) else {}


def _token_text(entry: object) -> str | None:
    """A special token is a string, or an object with its string in ``content``."""
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _template(folder: Path, config: Mapping[str, Any]) -> jinja2.Template | None:
    path = folder / "chat_template.jinja"
    text = path.read_text() if path.is_file() else config.get("chat_template")
    if not isinstance(text, str):
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise SettingsInvalid(f"--model: the chat template of {folder}: {error}") from error


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
