"""What the server needs of a tokenizer, and which one a model name means."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headway_engine.bytes4 import Bytes4Tokenizer
from headway_engine.errors import SettingsInvalid
from headway_engine.folder_tokenizer import FolderTokenizer
from headway_engine.token_ids import TokenIds

BUILT_IN = "bytes4"


class TextStream(Protocol):
    def step(self, token: int) -> str:
        """The text that this token completes, possibly none."""
        ...


class Tokenizer(Protocol):
    vocabulary_size: int
    eos_token_id: int | None
    generated_ids: Sequence[int]
    """The tokens that the simulated model answers with."""

    def encode(self, text: str) -> TokenIds: ...
    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> TokenIds: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def token_text(self, token: int) -> str: ...
    def stream(self) -> TextStream: ...


def load(model: str, tokenizer: str | None) -> Tokenizer:
    """``tokenizer``: the built-in one by its name, or a folder; None: the model's own.

    Raises:
        SettingsInvalid: a folder without ``tokenizer.json``, or a name that is neither.
    """
    if tokenizer == BUILT_IN or (tokenizer is None and not Path(model).is_dir()):
        return Bytes4Tokenizer()
    folder = Path(tokenizer or model)
    if not folder.is_dir():
        raise SettingsInvalid(f"--tokenizer: {tokenizer!r} is neither a folder nor {BUILT_IN!r}")
    return FolderTokenizer(folder)
