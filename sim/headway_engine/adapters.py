"""LoRA adapters by name: those of the command line and those loaded at run time.

Adapters of the command line are not opened, so a demo needs no folders; a run-time load answers 404
for a folder that is not there, as vLLM does.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headway_engine.errors import Refused


@dataclass(frozen=True, slots=True)
class Adapter:
    name: str
    path: str
    number: int
    """From 1, in the order of loading: ``lora_id`` of KV events."""
    created_s: int


class Adapters:
    def __init__(self, configured: Iterable[tuple[str, str]]) -> None:
        self._by_name: dict[str, Adapter] = {}
        self._loaded = 0
        for name, path in configured:
            self._add(name, path)

    def __iter__(self) -> Iterator[Adapter]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Adapter | None:
        return self._by_name.get(name)

    def load(self, name: str, path: str, *, in_place: bool) -> None:
        """Raises: Refused: incomplete, loaded already, or not there."""
        if not name or not path:
            raise _invalid("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self._by_name and not in_place:
            raise _invalid(
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True."
            )
        if not Path(path).exists():
            message = f"Loading lora {name} failed: No adapter found for {path}"
            raise Refused(404, "NotFoundError", message)
        self._add(name, path)

    def unload(self, name: str) -> None:
        """Raises: Refused: 404, not loaded."""
        if not name:
            raise _invalid("'lora_name' needs to be provided to unload a LoRA adapter.")
        if name not in self._by_name:
            raise Refused(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self._by_name[name]

    def _add(self, name: str, path: str) -> None:
        self._loaded += 1
        self._by_name[name] = Adapter(name, path, self._loaded, int(time.time()))


def _invalid(message: str) -> Refused:
    return Refused(400, "InvalidUserInput", message)
