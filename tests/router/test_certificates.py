import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edge.certificates import Authority, Secret
from headway_router.certificates import MAX_FILE_BYTES, CertificateFiles, Certificates
from headway_router.errors import BadCertificate
from headway_router.key_pair import KeyPair, checked, self_signed
from headway_router.metric_labels import ReloadOutcome
from headway_router.metrics import Metrics

AUTHORITY = Authority()
NAMES = ("c.crt", "k.key")
GOOD, OTHER = AUTHORITY.issue("localhost"), AUTHORITY.issue("localhost")


def files_of(secret: Secret) -> CertificateFiles:
    return CertificateFiles(secret.folder / "tls.crt", secret.folder / "tls.key")


def certificates_of(files: CertificateFiles | None) -> Certificates:
    return Certificates(files, host="h", metrics=Metrics(), settle_s=0)


def encrypted(pair: KeyPair) -> KeyPair:
    key = load_pem_private_key(pair.private_key, None)
    locked = BestAvailableEncryption(b"secret")
    return replace(pair, private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))


BAD = {
    "c.crt: no PEM certificate": replace(GOOD, certificates=b"nothing"),
    "k.key: no PEM private key": replace(GOOD, private_key=b""),
    "k.key: not the key of the certificate in c.crt": replace(GOOD, private_key=OTHER.private_key),
    "k.key: the private key is encrypted": encrypted(GOOD),
}


def test_what_is_good_is_taken_as_it_is() -> None:
    chain = GOOD.certificates + AUTHORITY.certificate
    taken = checked(chain, GOOD.private_key, NAMES)
    assert (taken.certificates, taken.private_key) == (chain, GOOD.private_key)


@pytest.mark.parametrize(("problem", "pair"), BAD.items(), ids=BAD.keys())
def test_what_is_bad_is_named_with_its_file(problem: str, pair: KeyPair) -> None:
    with pytest.raises(BadCertificate) as refused:
        checked(pair.certificates, pair.private_key, NAMES)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "router.example"])
def test_a_pair_that_is_made_is_a_good_one(host: str) -> None:
    made = self_signed(host, datetime(2026, 1, 1, tzinfo=UTC))
    assert checked(made.certificates, made.private_key, NAMES) == made
    assert datetime.fromtimestamp(made.expires_s, UTC).year == 2035


async def test_new_files_are_served_and_equal_ones_are_no_news(tmp_path: Path) -> None:
    secret = Secret(tmp_path / "tls", GOOD)
    certificates = certificates_of(files_of(secret))
    assert await certificates.poll() is ReloadOutcome.UNCHANGED
    secret.put(OTHER)
    assert await certificates.poll() is ReloadOutcome.APPLIED
    assert certificates.pair() == OTHER
    secret.put(OTHER)
    assert await certificates.poll() is ReloadOutcome.UNCHANGED


@pytest.mark.parametrize("pair", BAD.values(), ids=BAD.keys())
async def test_bad_files_keep_the_last_good_pair_and_are_a_problem_until_mended(
    pair: KeyPair, tmp_path: Path
) -> None:
    secret = Secret(tmp_path / "tls", GOOD)
    certificates = certificates_of(files_of(secret))
    secret.put(pair)
    assert await certificates.poll() is ReloadOutcome.REJECTED
    assert await certificates.poll() is ReloadOutcome.UNCHANGED
    assert certificates.pair() == GOOD
    assert str(secret.folder) in certificates.problem
    secret.put(GOOD)
    assert await certificates.poll() is ReloadOutcome.UNCHANGED
    assert certificates.problem == ""


async def test_missing_files_keep_the_last_good_pair(tmp_path: Path) -> None:
    secret = Secret(tmp_path / "tls", GOOD)
    certificates = certificates_of(files_of(secret))
    (secret.folder / "tls.key").unlink()
    assert await certificates.poll() is ReloadOutcome.REJECTED
    assert certificates.problem == f"{secret.folder / 'tls.key'}: no such file"
    assert certificates.pair() == GOOD


@dataclass(frozen=True, slots=True)
class ChangedAfterReading(CertificateFiles):
    changes: list[Callable[[], None]]
    """One after each read, while there are some."""

    def read(self) -> tuple[bytes, bytes]:
        contents = CertificateFiles.read(self)
        if self.changes:
            self.changes.pop(0)()
        return contents


async def test_files_that_are_being_written_are_left_for_the_next_look(tmp_path: Path) -> None:
    secret = Secret(tmp_path / "tls", GOOD)
    half = replace(OTHER, private_key=GOOD.private_key)
    changes: list[Callable[[], None]] = [partial(secret.put, half), partial(secret.put, OTHER)]
    paths = files_of(secret)
    certificates = certificates_of(
        ChangedAfterReading(paths.certificates, paths.private_key, changes)
    )
    assert await certificates.poll() is ReloadOutcome.UNSETTLED
    assert await certificates.poll() is ReloadOutcome.APPLIED
    assert certificates.pair() == OTHER


async def test_without_files_a_pair_is_made_and_stays() -> None:
    certificates = certificates_of(None)
    made = certificates.pair()
    await certificates.run()
    assert await certificates.poll() is ReloadOutcome.UNCHANGED
    assert certificates.pair() is made
    assert certificates.debug()["certificate"] == "self-signed"


@pytest.mark.parametrize("content", [None, b"nothing", b"x" * (MAX_FILE_BYTES + 1)])
def test_there_is_no_start_with_bad_files(content: bytes | None, tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "a", tmp_path / "b")
    if content is not None:
        files.certificates.write_bytes(content)
        files.private_key.write_bytes(b"")
    with pytest.raises(BadCertificate, match=str(files.certificates)):
        certificates_of(files)


def test_each_look_is_counted(tmp_path: Path) -> None:
    secret = Secret(tmp_path / "tls", GOOD)
    metrics = Metrics()
    certificates = Certificates(files_of(secret), host="h", metrics=metrics, settle_s=0)
    asyncio.run(certificates.poll())
    secret.put(BAD["k.key: no PEM private key"])
    asyncio.run(certificates.poll())
    counted = {
        outcome: metrics.registry.get_sample_value(
            "headway_certificate_reloads_total", {"outcome": outcome}
        )
        for outcome in ReloadOutcome
    }
    assert counted == {"applied": 0, "unchanged": 1, "rejected": 1, "unsettled": 0}
