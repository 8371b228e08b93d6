from pathlib import Path

import pytest

from headway_router.errors import InvalidSettings
from headway_router.settings import parse


def test_only_the_source_is_required_and_nothing_listens_beyond_this_machine(
    tmp_path: Path,
) -> None:
    settings = parse(["--config", str(tmp_path)], {})
    assert settings.config == tmp_path
    assert settings.host == "127.0.0.1"
    ports = settings.grpc_port, settings.grpc_health_port, settings.metrics_port
    assert (*ports, settings.debug_port) == (9002, 9003, 9090, 9091)
    assert (settings.scrape_min_s, settings.scrape_max_s) == (0.1, 2.0)


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default(tmp_path: Path) -> None:
    environment = {
        "HEADWAY_CONFIG": str(tmp_path),
        "HEADWAY_GRPC_PORT": "1",
        "HEADWAY_METRICS_PORT": "2",
        "HEADWAY_SINGLE_DESTINATION": "true",
    }
    settings = parse(["--grpc-port", "0"], environment)
    assert (settings.grpc_port, settings.metrics_port) == (0, 2)
    assert settings.single_destination


def test_every_problem_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    arguments = ["--config", str(tmp_path / "missing"), "--grpc-port", "99999"]
    with pytest.raises(InvalidSettings) as refused:
        parse(arguments, {"HEADWAY_LOG_LEVEL": "loud"})
    assert refused.value.problems == (
        f"--config: no such folder: {tmp_path / 'missing'}",
        "--grpc-port: Input should be less than or equal to 65535, not '99999'",
        "HEADWAY_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error', not 'loud'",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--scrape-min-ms", "3000"], "--scrape-min-ms is 3000, above --scrape-max-ms, 2000"),
        (["--grpc-port", "9090"], "--grpc-port and --metrics-port are both 9090"),
        (["--drain-timeout-s", "inf"], "--drain-timeout-s: Input should be a finite number"),
        (["--host", ""], "--host: String should have at least 1 character"),
        (["--transport", "h3"], "--transport: Input should be 'grpc-aio' or 'h2', not 'h3'"),
        (["--decision-log-complete"], "--decision-log-complete needs --decision-log"),
        (
            ["--decision-log-complete", "--decision-log", "-", "--processes", "2"],
            "--decision-log-complete is for one process, not 2",
        ),
        (["--processes", "0"], "--processes: Input should be greater than or equal to 1, not '0'"),
        (["--processes", "65"], "--processes: Input should be less than or equal to 64, not '65'"),
        (
            ["--processes", "2", "--metrics-port", "9012"],
            "--metrics-port of process 0 and --grpc-port of process 1 are both 9012",
        ),
        (
            ["--processes", "3", "--debug-port", "65520"],
            "--debug-port of process 2 would be 65540, above 65535",
        ),
        (["--max-body-bytes", "1k"], "--max-body-bytes: Input should be a valid integer"),
    ],
)
def test_a_bad_value_is_refused(arguments: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse(["--config", str(tmp_path), *arguments], {})
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--cert-file", "c"], "--cert-file: give either --cert-dir, or both"),
        (["--cert-dir", "d", "--key-file", "k"], "--cert-dir and --key-file: give either"),
        (
            ["--cert-dir", "d", "--secure-serving=false"],
            "--cert-dir has no use with --secure-serving=false",
        ),
        (["--secure-serving=perhaps"], "--secure-serving: Input should be a valid boolean"),
    ],
)
def test_certificates_are_given_once_and_for_tls(
    arguments: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse(["--config", str(tmp_path), *arguments], {})
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "is_secure"),
    [
        ([], True),
        (["--secure-serving"], True),
        (["--secure-serving=false"], False),
        (["--no-secure-serving"], False),
    ],
)
def test_a_switch_is_given_with_and_without_a_value(
    arguments: list[str], is_secure: bool, tmp_path: Path
) -> None:
    settings = parse(["--config", str(tmp_path), *arguments], {"HEADWAY_SINGLE_DESTINATION": "1"})
    assert settings.secure_serving is is_secure
    assert settings.single_destination


def test_a_folder_of_certificates_holds_what_a_secret_holds(tmp_path: Path) -> None:
    flags = ["--config", str(tmp_path), "--cert-dir", "/tls"]
    assert parse(flags, {}).certificate_paths == (Path("/tls/tls.crt"), Path("/tls/tls.key"))


def test_free_ports_may_be_asked_for_several_times(tmp_path: Path) -> None:
    flags = ["--grpc-port", "--grpc-health-port", "--metrics-port", "--debug-port"]
    settings = parse(["--config", str(tmp_path), *(a for f in flags for a in (f, "0"))], {})
    assert settings.debug_port == settings.grpc_port == 0


def test_each_process_has_its_ports_ten_above_the_one_before(tmp_path: Path) -> None:
    flags = ["--config", str(tmp_path), "--processes", "3", "--metrics-port", "0"]
    assert parse(flags, {}).ports_of(2) == {
        "grpc_port": 9022,
        "grpc_health_port": 9023,
        "metrics_port": 0,
        "debug_port": 9111,
    }


def test_help_explains_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse(["--help"], {})
    assert done.value.code == 0
    page = capsys.readouterr().out
    for flag in ("--config", "--host", "--debug-port", "--scrape-max-ms", "--single-destination"):
        assert flag in page


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give exactly one of --config and --operator"),
        (["--config", ".", "--operator", "o:1"], "give exactly one of --config and --operator"),
        (["--operator", "o"], "--operator: must be HOST:PORT, not 'o'"),
        (["--operator", "o:0"], "--operator: must be HOST:PORT, not 'o:0'"),
        (["--operator", "o:1", "--state-dir", "/none"], "--state-dir: no such folder: /none"),
        (["--config", ".", "--state-dir", "."], "--state-dir has no use without --operator"),
        (
            ["--config", ".", "--operator-tls-dir", "."],
            "--operator-tls-dir has no use without --operator",
        ),
    ],
)
def test_what_contradicts_the_source_is_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse(arguments, {})
    assert refused.value.problems == (problem,)


def test_an_operator_is_named_by_host_and_port(tmp_path: Path) -> None:
    settings = parse(["--operator", "[::1]:9004", "--state-dir", str(tmp_path)], {})
    assert (settings.operator, settings.state_dir) == ("[::1]:9004", tmp_path)
