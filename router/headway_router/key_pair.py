"""A certificate and its private key: checked, made, given to OpenSSL."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from headway_router.errors import BadCertificate

_NAME = "headway-router"
_VALID = timedelta(days=3650)
"""Longer than a process lives: the pair is made at its start."""
_CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both in PEM; the chain begins with the server's own certificate."""

    certificates: bytes
    private_key: bytes
    expires_s: float
    """Unix time at which the first certificate of the chain to expire does so."""

    def load_into(self, context: ssl.SSLContext) -> None:
        """For the connections that begin from here on.  Raises: ssl.SSLError."""
        with _as_file(self.certificates + b"\n" + self.private_key) as path:
            context.load_cert_chain(path, password="")


def checked(certificates: bytes, private_key: bytes, names: tuple[str, str]) -> KeyPair:
    """``names`` are of the two files, for messages.

    Raises:
        BadCertificate: a file is not what it should be, or the two do not belong together.
    """
    certificate_name, key_name = names
    try:
        chain = x509.load_pem_x509_certificates(certificates)
        certified = _public(chain[0].public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{certificate_name}: no PEM certificate: {error}") from error
    try:
        held = _public(load_pem_private_key(private_key, password=None).public_key())
    except TypeError as error:
        raise BadCertificate(f"{key_name}: the private key is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{key_name}: no PEM private key: {error}") from error
    if certified != held:
        raise BadCertificate(f"{key_name}: not the key of the certificate in {certificate_name}")
    expires_s = min(one.not_valid_after_utc.timestamp() for one in chain)
    pair = KeyPair(certificates, private_key, expires_s)
    try:
        pair.load_into(server_context())
    except ssl.SSLError as error:
        raise BadCertificate(f"{certificate_name}, {key_name}: OpenSSL says: {error}") from error
    return pair


def self_signed(host: str, now: datetime) -> KeyPair:
    """Encrypts, but proves nothing: for gateways that do not verify, as most by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    hosts = dict.fromkeys((host, "localhost", "127.0.0.1"))
    alternatives = list(map(_alternative, hosts))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.not_valid_after_utc.timestamp(),
    )


def server_context() -> ssl.SSLContext:
    """TLS 1.2 and above, HTTP/2 only; without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that OpenSSL can read: of memory on Linux, else of a file for this user only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("key-pair", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
