"""Flags and environment of ``headway router`` become one frozen, validated value.

A flag wins over its variable: ``--grpc-port`` over ``HEADWAY_GRPC_PORT``.
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from headway_router.errors import InvalidSettings

ENVIRONMENT_PREFIX = "HEADWAY_"
LOOPBACK = "127.0.0.1"
PORT_STEP = 10
"""From a port of one process to the same port of the next."""
MAX_PROCESSES = 64

_HIGHEST_PORT = 65535

Port = Annotated[int, Field(ge=0, le=_HIGHEST_PORT)]


class Settings(BaseModel):
    """Each field is a flag; its description is the flag's help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    config: Path | None = None
    """folder of ModelPool and RoutingPolicy documents; watched for changes"""
    operator: str | None = None
    """host:port of the operator, instead of --config; every address of the host is reported to"""
    operator_tls_dir: Path | None = None
    """folder of tls.crt, tls.key and ca.crt for mutual TLS with the operator; plain text without"""
    state_dir: Path | None = None
    """folder for the last good snapshot, to start from while no operator answers"""
    host: str = Field(default=LOOPBACK, min_length=1)
    """address that ext_proc, health and metrics listen on; 0.0.0.0 in a container"""
    grpc_port: Port = 9002
    """ext_proc; 0 takes a free port, as for the others"""
    grpc_health_port: Port = 9003
    """grpc.health.v1, for probes"""
    metrics_port: Port = 9090
    """Prometheus metrics at /metrics"""
    debug_port: Port = 9091
    """state as JSON at /debug, dry runs at /explain; always on 127.0.0.1"""
    processes: int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """complete routers on one host; number i, from 0, uses each port + 10 x i"""
    transport: Literal["grpc-aio", "h2"] = "grpc-aio"
    """what serves ext_proc: grpc's own server, the reference, or the fast one"""
    secure_serving: bool = True
    """TLS on the ext_proc port, with a self-signed certificate unless one is given"""
    cert_dir: Path | None = None
    """folder of tls.crt and tls.key, as a mounted Secret; read again when they change"""
    cert_file: Path | None = None
    """the same as two files: certificates in PEM, the server's own first"""
    key_file: Path | None = None
    """and its private key in PEM, not encrypted"""
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    """a longer request body is refused with 413"""
    drain_timeout_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """how long open streams may take to end after SIGTERM"""
    drain_notice_s: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """part of that in which new streams are still taken, while gateways notice; none on SIGINT"""
    scrape_min_ms: float = Field(default=100.0, ge=10, allow_inf_nan=False)
    """interval between reads of a busy engine's metrics"""
    scrape_max_ms: float = Field(default=2000.0, ge=10, allow_inf_nan=False)
    """the same for an idle engine; above 5000 ms views go stale"""
    decision_log: str | None = Field(default=None, min_length=1)
    """file that decisions are appended to as JSON lines; - is standard output"""
    decision_log_complete: bool = False
    """log every call of the core, which can be replayed, rather than the policies' samples"""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """base URL of an OpenTelemetry collector (OTLP over HTTP, JSON); spans go to its /v1/traces"""
    sampled_streams: int = Field(default=2, ge=0, le=1000)
    """responses of a pool that are read at once, to learn from the usage they report; 0: none"""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """debug logs every request"""
    single_destination: bool = False
    """name one endpoint, for gateways that read the destination header as one address"""

    @field_validator("config", "operator_tls_dir", "state_dir")
    @classmethod
    def _is_a_folder(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError(f"no such folder: {path}")
        return path

    @field_validator("operator")
    @classmethod
    def _is_host_and_port(cls, address: str | None) -> str | None:
        if address is not None:
            host, _, port = address.rpartition(":")
            if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
                raise ValueError(f"must be HOST:PORT, not {address!r}")
        return address

    @model_validator(mode="after")
    def _one_source(self) -> "Settings":
        if (self.config is None) == (self.operator is None):
            raise ValueError("give exactly one of --config and --operator")
        given = [n for n in ("operator_tls_dir", "state_dir") if getattr(self, n) is not None]
        if given and self.operator is None:
            raise ValueError(f"{_flag(given[0])} has no use without --operator")
        return self

    @model_validator(mode="after")
    def _scrape_bounds_in_order(self) -> "Settings":
        if self.scrape_min_ms > self.scrape_max_ms:
            raise ValueError(
                f"--scrape-min-ms is {self.scrape_min_ms:g}, above --scrape-max-ms,"
                f" {self.scrape_max_ms:g}"
            )
        return self

    @model_validator(mode="after")
    def _complete_log_of_one_process(self) -> "Settings":
        """Lines of several cores in one file are no core's."""
        if self.decision_log_complete and self.decision_log is None:
            raise ValueError("--decision-log-complete needs --decision-log")
        if self.decision_log_complete and self.processes > 1:
            raise ValueError(f"--decision-log-complete is for one process, not {self.processes}")
        return self

    @model_validator(mode="after")
    def _certificate_once(self) -> "Settings":
        """What is wrong with the files themselves is said when they are read."""
        given = [n for n in ("cert_dir", "cert_file", "key_file") if getattr(self, n) is not None]
        if given and not self.secure_serving:
            raise ValueError(f"{_flag(given[0])} has no use with --secure-serving=false")
        if given not in ([], ["cert_dir"], ["cert_file", "key_file"]):
            raise ValueError(
                f"{' and '.join(map(_flag, given))}: give either --cert-dir,"
                " or both --cert-file and --key-file"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> "Settings":
        """Where a port may be shared, two servers on it would each get half of the traffic."""
        users: dict[int, str] = {}
        for process in range(self.processes):
            of_process = f" of process {process}" if self.processes > 1 else ""
            for name, port in self.ports_of(process).items():
                user = _flag(name) + of_process
                if port > _HIGHEST_PORT:
                    raise ValueError(f"{user} would be {port}, above {_HIGHEST_PORT}")
                if port and (other := users.setdefault(port, user)) != user:
                    raise ValueError(f"{other} and {user} are both {port}")
        return self

    def ports_of(self, process: int) -> dict[str, int]:
        """By field, the ports of one of the processes; 0 is a free one in each."""
        ports = {name: getattr(self, name) for name in type(self).model_fields if "_port" in name}
        return {name: port and port + PORT_STEP * process for name, port in ports.items()}

    @property
    def certificate_paths(self) -> tuple[Path, Path] | None:
        """Of the certificate and the key; None: a pair is to be made."""
        if self.cert_dir is not None:
            return self.cert_dir / "tls.crt", self.cert_dir / "tls.key"
        if self.cert_file is not None and self.key_file is not None:
            return self.cert_file, self.key_file
        return None

    @property
    def scrape_min_s(self) -> float:
        return self.scrape_min_ms / 1000

    @property
    def scrape_max_s(self) -> float:
        return self.scrape_max_ms / 1000


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Flags over environment over defaults.

    Raises:
        InvalidSettings: naming each flag or variable, what was wrong and what is allowed.
        SystemExit: for ``--help`` and for an unknown flag, as argparse does.
    """
    given = {k: v for k, v in vars(_parser().parse_args(arguments)).items() if v is not None}
    variables = {
        name: environment[variable]
        for name in Settings.model_fields
        if (variable := ENVIRONMENT_PREFIX + name.upper()) in environment
    }
    try:
        return Settings.model_validate(variables | given)
    except ValidationError as error:
        raise InvalidSettings(_problems(error, given.keys())) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway router",
        description="The endpoint picker: an Envoy external processor.",
        epilog=f"Each flag is also read from {ENVIRONMENT_PREFIX}<NAME>, such as"
        f" {ENVIRONMENT_PREFIX}GRPC_PORT.",
    )
    for name, field in Settings.model_fields.items():
        help_text = field.description or ""
        if field.default is not None:
            help_text += f" (default: {field.default})"
        if field.annotation is bool:
            # --flag, --flag=false as Go's programs take it, and --no-flag.
            parser.add_argument(
                _flag(name), nargs="?", const="true", metavar="true|false", help=help_text
            )
            parser.add_argument(
                _flag(f"no_{name}"),
                dest=name,
                action="store_const",
                const="false",
                help=argparse.SUPPRESS,
            )
        else:
            metavar = name.rpartition("_")[2].upper()
            parser.add_argument(_flag(name), metavar=metavar, help=help_text)
    return parser


def _problems(error: ValidationError, flags: Collection[str]) -> list[str]:
    problems = []
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            problems.append(message)
            continue
        name = str(problem["loc"][0])
        source = _flag(name) if name in flags else ENVIRONMENT_PREFIX + name.upper()
        match problem["type"]:
            case "value_error":
                problems.append(f"{source}: {message}")
            case _:
                problems.append(f"{source}: {message}, not {problem['input']!r}")
    return problems


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
