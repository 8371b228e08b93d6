"""The Prometheus text format, read strictly: what the parser does not know is an error."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABELS = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_SUFFIXES = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """One scrape: types by family, helps by family, samples by family in the order of the text."""

    types: Mapping[str, str]
    helps: Mapping[str, str]
    families: Mapping[str, tuple[Sample, ...]]

    def select(self, name: str, **labels: str) -> list[Sample]:
        """Samples of that exact name which carry these labels, among others."""
        family = self.families.get(name) or self.families.get(_family(name, self.types) or "", ())
        return [
            sample
            for sample in family
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Raises: LookupError: unless exactly one sample fits."""
        found = self.select(name, **labels)
        if len(found) != 1:
            raise LookupError(f"{name} {labels}: {len(found)} samples")
        return found[0].value


def parse(text: str) -> Exposition:
    """Raises: ValueError: at a line that is no sample of a declared family."""
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    families: dict[str, list[Sample]] = {}
    for line in text.splitlines():
        match line.split(" ", 3):
            case ["#", "TYPE", name, kind]:
                types[name] = kind
                families[name] = []
            case ["#", "HELP", name, words]:
                helps[name] = words
            case _:
                sample = _sample(line)
                family = _family(sample.name, types)
                if family is None:
                    raise ValueError(f"a sample before the type of its family: {line}")
                families[family].append(sample)
    frozen = {name: tuple(samples) for name, samples in families.items()}
    return Exposition(types=types, helps=helps, families=frozen)


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a sample: {line}")
    name, labels, value = match.groups()
    pairs = _LABELS.findall(labels or "")
    if ",".join(f'{key}="{text}"' for key, text in pairs) != (labels or ""):
        raise ValueError(f"labels that do not parse: {line}")
    return Sample(name=name, labels=dict(pairs), value=float(value))


def _family(name: str, types: Mapping[str, str]) -> str | None:
    if name in types:
        return name
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            family = name.removesuffix(suffix)
            if family != name and types.get(family) == kind:
                return family
    return None
