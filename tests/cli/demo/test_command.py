"""How a demo ends that measured nothing."""

import pytest

from headway_cli.demo import command, main

pytestmark = pytest.mark.slow


def test_a_machine_that_lags_gets_a_second_try_at_double_dilation_and_then_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any lag is too much here."""
    monkeypatch.setattr(command, "MAX_LAG_S", -1.0)
    assert main(["--minutes", "0.02"]) == 3
    output = " ".join(capsys.readouterr().out.split())
    assert "both runs are repeated at double dilation" in output
    assert "also at dilation" in output
    assert "cached" not in output
