"""An authority of the tests, and files as a mounted Secret has them."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headway_router.key_pair import KeyPair

_DAY = timedelta(days=1)


class Authority:
    """Issues certificates for a name and 127.0.0.1, each with a key and a number of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("the tests' authority")
        builder = _builder(self._name, self._name, self._key.public_key(), datetime.now(UTC))
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        made = builder.add_extension(constraint, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = made.public_bytes(Encoding.PEM)

    def issue(self, name: str) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self._name, key.public_key(), datetime.now(UTC))
        names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        expires_s = made.not_valid_after_utc.timestamp()
        return KeyPair(made.public_bytes(Encoding.PEM), private, expires_s)

    async def number_served(self, port: int) -> int:
        """The number that a new connection is shown.  Fails if another authority issued it."""
        context = ssl.create_default_context(cadata=self.certificate.decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return x509.load_der_x509_certificate(shown).serial_number


def number_of(pair: KeyPair) -> int:
    return x509.load_pem_x509_certificate(pair.certificates).serial_number


class Secret:
    """A folder of ``tls.crt`` and ``tls.key``, which the kubelet swaps as a whole."""

    def __init__(self, folder: Path, pair: KeyPair) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()
        self.put(pair)
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data", name))

    def put(self, pair: KeyPair) -> None:
        self._version += 1
        version = self.folder / f"..{self._version}"
        version.mkdir()
        (version / "tls.crt").write_bytes(pair.certificates)
        (version / "tls.key").write_bytes(pair.private_key)
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
