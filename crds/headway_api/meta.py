"""Shapes that both resources share: strictness, names, metadata."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from headway_api.cel import Rule

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ADAPTER = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
ABSOLUTE_PATH = r"^/[!-~]*$"

PATTERN_WORDS = {
    DNS_LABEL: "lower-case letters, digits and inner '-'",
    DNS_SUBDOMAIN: "lower-case letters, digits, inner '-' and '.'",
    ADAPTER: "letters, digits and inner '-', '_' and '.'",
    ABSOLUTE_PATH: "an absolute path without spaces",
}
"""What each pattern means to a person; error messages say this."""


def camel(name: str) -> str:
    """``ttft_ms_per_1k_tokens`` -> ``ttftMsPer1kTokens``."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


class ApiModel(BaseModel):
    """camelCase only, immutable, strict about unknown fields and about types.

    Bounds are inclusive (``ge``, ``le``) and every string and list is bounded, so that a
    structural schema can be generated from these types.  ``rules`` are those between its fields.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()

    model_config = ConfigDict(
        alias_generator=camel,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _an_empty_field_is_an_absent_one(cls, value: Any) -> Any:
        """As for the Kubernetes API server: null is pruned.  Unknown fields stay, to be refused."""
        if not isinstance(value, Mapping):
            return value
        known = {field.alias for field in cls.model_fields.values()}
        return {k: v for k, v in value.items() if v is not None or k not in known}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        if cls.rules:
            target = handler.resolve_ref_schema(schema)
            target["x-kubernetes-validations"] = [rule.validation() for rule in cls.rules]
        return schema


BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
"""``json_schema_extra`` of a list of named objects: names are unique, appliers own entries."""
EACH_ONCE = {"x-kubernetes-list-type": "set"}
AS_A_WHOLE = {"x-kubernetes-list-type": "atomic"}


Name = Annotated[str, Field(min_length=1, max_length=40, pattern=DNS_LABEL)]
"""Of a part of a resource: group, endpoint, SLO class."""

ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]

Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
Slope = Annotated[int, Field(ge=0, le=3_600_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]

Labels = Annotated[
    dict[
        Annotated[str, Field(max_length=317)],
        Annotated[str, Field(max_length=262_144)],
    ],
    Field(max_length=256),
]


class ObjectMeta(ApiModel):
    """Who the resource is."""

    name: ResourceName
    """Unique among resources of the kind in the namespace."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] = "default"
    """A policy targets pools of its own namespace."""
    labels: Labels = Field(default_factory=dict)
    """For people and other tools; routing does not read them."""
    annotations: Labels = Field(default_factory=dict)
    """For people and other tools; routing does not read them."""


class Resource(ApiModel):
    """What all kinds have."""

    api_version: Literal["headway.dev/v1alpha1"]
    """Version of the API."""
    metadata: ObjectMeta
    """Who the resource is."""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


class SloSpec(ApiModel):
    """Target for the time to first token: `ttftMs + ttftMsPer1kTokens * promptTokens / 1000`."""

    rules = (
        Rule(
            field="ttftMsPer1kTokens",
            problem="has no ttftMs to add to",
            allowed="together with ttftMs, or 0",
            cel=("has(self.ttftMs) || !has(self.ttftMsPer1kTokens) || self.ttftMsPer1kTokens == 0"),
            holds=lambda slo: slo.ttft_ms is not None or slo.ttft_ms_per_1k_tokens == 0,
        ),
    )

    ttft_ms: Milliseconds | None = None
    """Milliseconds to the first token of a short prompt."""
    ttft_ms_per_1k_tokens: Slope = 0
    """Milliseconds more for each 1,000 prompt tokens; needs `ttftMs`."""
