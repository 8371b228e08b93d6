from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Router(_message.Message):
    __slots__ = ("id", "name", "version", "max_schema", "incarnation")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    version: str
    max_schema: int
    incarnation: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., max_schema: _Optional[int] = ..., incarnation: _Optional[str] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("router", "held_hash")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    HELD_HASH_FIELD_NUMBER: _ClassVar[int]
    router: Router
    held_hash: str
    def __init__(self, router: _Optional[_Union[Router, _Mapping]] = ..., held_hash: _Optional[str] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("schema", "server_id", "sequence", "content_hash", "pools", "policies", "endpoints")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    schema: int
    server_id: str
    sequence: int
    content_hash: str
    pools: _containers.RepeatedCompositeFieldContainer[Item]
    policies: _containers.RepeatedCompositeFieldContainer[Item]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    def __init__(self, schema: _Optional[int] = ..., server_id: _Optional[str] = ..., sequence: _Optional[int] = ..., content_hash: _Optional[str] = ..., pools: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., policies: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("uid", "namespace", "name", "generation", "state", "hash", "canonical_json")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Item.State]
        COMPILED: _ClassVar[Item.State]
        HELD: _ClassVar[Item.State]
    STATE_UNSPECIFIED: Item.State
    COMPILED: Item.State
    HELD: Item.State
    UID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    CANONICAL_JSON_FIELD_NUMBER: _ClassVar[int]
    uid: str
    namespace: str
    name: str
    generation: int
    state: Item.State
    hash: str
    canonical_json: bytes
    def __init__(self, uid: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., state: _Optional[_Union[Item.State, str]] = ..., hash: _Optional[str] = ..., canonical_json: _Optional[bytes] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("uid", "pool_uid", "group", "name", "address", "ports", "state")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Endpoint.State]
        READY: _ClassVar[Endpoint.State]
        NOT_READY: _ClassVar[Endpoint.State]
        DRAINING: _ClassVar[Endpoint.State]
        TERMINATING: _ClassVar[Endpoint.State]
    STATE_UNSPECIFIED: Endpoint.State
    READY: Endpoint.State
    NOT_READY: Endpoint.State
    DRAINING: Endpoint.State
    TERMINATING: Endpoint.State
    UID_FIELD_NUMBER: _ClassVar[int]
    POOL_UID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    uid: str
    pool_uid: str
    group: str
    name: str
    address: str
    ports: _containers.RepeatedScalarFieldContainer[int]
    state: Endpoint.State
    def __init__(self, uid: _Optional[str] = ..., pool_uid: _Optional[str] = ..., group: _Optional[str] = ..., name: _Optional[str] = ..., address: _Optional[str] = ..., ports: _Optional[_Iterable[int]] = ..., state: _Optional[_Union[Endpoint.State, str]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("router", "ack", "results", "pools", "drains", "leaving")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    DRAINS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    router: Router
    ack: Ack
    results: _containers.RepeatedCompositeFieldContainer[Result]
    pools: _containers.RepeatedCompositeFieldContainer[PoolTraffic]
    drains: _containers.RepeatedCompositeFieldContainer[DrainProgress]
    leaving: bool
    def __init__(self, router: _Optional[_Union[Router, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., pools: _Optional[_Iterable[_Union[PoolTraffic, _Mapping]]] = ..., drains: _Optional[_Iterable[_Union[DrainProgress, _Mapping]]] = ..., leaving: _Optional[bool] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ack(_message.Message):
    __slots__ = ("server_id", "sequence", "content_hash", "verdict", "reason", "message")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[Ack.Verdict]
        ACK: _ClassVar[Ack.Verdict]
        NACK: _ClassVar[Ack.Verdict]
    VERDICT_UNSPECIFIED: Ack.Verdict
    ACK: Ack.Verdict
    NACK: Ack.Verdict
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    sequence: int
    content_hash: str
    verdict: Ack.Verdict
    reason: str
    message: str
    def __init__(self, server_id: _Optional[str] = ..., sequence: _Optional[int] = ..., content_hash: _Optional[str] = ..., verdict: _Optional[_Union[Ack.Verdict, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("uid", "generation", "hash", "state", "reason", "message")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Result.State]
        APPLIED: _ClassVar[Result.State]
        REJECTED: _ClassVar[Result.State]
    STATE_UNSPECIFIED: Result.State
    APPLIED: Result.State
    REJECTED: Result.State
    UID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    uid: str
    generation: int
    hash: str
    state: Result.State
    reason: str
    message: str
    def __init__(self, uid: _Optional[str] = ..., generation: _Optional[int] = ..., hash: _Optional[str] = ..., state: _Optional[_Union[Result.State, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PoolTraffic(_message.Message):
    __slots__ = ("uid", "requests", "prompt_tokens", "hit_tokens", "queued_requests", "with_slo", "met_slo", "ttft_bounds_seconds", "ttft_counts")
    UID_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WITH_SLO_FIELD_NUMBER: _ClassVar[int]
    MET_SLO_FIELD_NUMBER: _ClassVar[int]
    TTFT_BOUNDS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TTFT_COUNTS_FIELD_NUMBER: _ClassVar[int]
    uid: str
    requests: int
    prompt_tokens: int
    hit_tokens: int
    queued_requests: int
    with_slo: int
    met_slo: int
    ttft_bounds_seconds: _containers.RepeatedScalarFieldContainer[float]
    ttft_counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, uid: _Optional[str] = ..., requests: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., hit_tokens: _Optional[int] = ..., queued_requests: _Optional[int] = ..., with_slo: _Optional[int] = ..., met_slo: _Optional[int] = ..., ttft_bounds_seconds: _Optional[_Iterable[float]] = ..., ttft_counts: _Optional[_Iterable[int]] = ...) -> None: ...

class DrainProgress(_message.Message):
    __slots__ = ("endpoint_uid", "leases", "running", "waiting", "view_age_seconds")
    ENDPOINT_UID_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    endpoint_uid: str
    leases: int
    running: int
    waiting: int
    view_age_seconds: float
    def __init__(self, endpoint_uid: _Optional[str] = ..., leases: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., view_age_seconds: _Optional[float] = ...) -> None: ...
