"""The engine's command line: what the pool wants of it, merged with what the user wrote.

A flag that says something else than the pool is an error, never overridden: whoever wrote it would
not find out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from headway_operator.errors import InvalidSpec

_SHORT = {
    "-dp": "--data-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-tp": "--tensor-parallel-size",
}
_SHELLS = {"ash", "bash", "dash", "sh", "zsh"}


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    values: tuple[str, ...]
    source: str
    """The field of the ModelPool that says so."""
    default: str | None = None
    """What the engine does without the flag: not written then."""


def merged(
    command: Sequence[str], arguments: Sequence[str], wanted: Sequence[Flag], field: str
) -> list[str]:
    """``arguments`` and the flags that are missing there and in ``command``.

    Raises: InvalidSpec: a flag says something else, or a shell would swallow what is added.
    """
    if command and PurePosixPath(command[0]).name in _SHELLS:
        raise InvalidSpec(
            f"{field}.command", f"{command[0]} would not pass arguments on; name the engine itself"
        )
    written = dict(_flags([*command, *arguments]))
    added: list[str] = []
    for flag in wanted:
        found = written.get(flag.name)
        if found is None:
            if flag.values != (flag.default,):
                added += [flag.name, *flag.values]
        elif set(found) != set(flag.values):
            raise InvalidSpec(
                f"{field}.args",
                f"{flag.name} {' '.join(found)} contradicts {flag.source},"
                f" which makes it {' '.join(flag.values)}",
            )
    return [*arguments, *added]


def _flags(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every flag with its values; vLLM takes ``--a_b``, ``--a-b``, ``--a-b=1`` alike."""
    for i, word in enumerate(words):
        if not word.startswith("-"):
            continue
        name, has_value, value = word.partition("=")
        name = _SHORT.get(name, name.replace("_", "-"))
        values = [value] if has_value else []
        for following in words[i + 1 :]:
            if has_value or following.startswith("-"):
                break
            values.append(following)
        yield name, tuple(values)
