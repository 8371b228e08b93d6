"""The router's one place for certificates: what every transport serves with, also after a change.

Files are read again every few seconds and compared by content, as a mounted Secret is a folder of
links that is swapped.  What cannot be used changes nothing.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from headway_router import key_pair
from headway_router.errors import BadCertificate
from headway_router.key_pair import KeyPair
from headway_router.metric_labels import ReloadOutcome
from headway_router.metrics import Metrics

log = logging.getLogger(__name__)

POLL_S = 10.0
SETTLE_S = 0.25
"""Two files that are written one after the other do not belong together for a moment."""
MAX_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM: the server's certificate with its intermediates, and its key, not encrypted."""

    certificates: Path
    private_key: Path

    def read(self) -> tuple[bytes, bytes]:
        """Raises: BadCertificate: naming the file that cannot be read."""
        return _content(self.certificates), _content(self.private_key)

    def check(self, contents: tuple[bytes, bytes]) -> KeyPair:
        """Raises: BadCertificate."""
        names = str(self.certificates), str(self.private_key)
        return key_pair.checked(*contents, names)


class Certificates:
    """The pair in force.

    ``context`` is of the fast transport; connections that exist keep the pair they began with.
    ``files`` is None: one is made, and stays.

    Raises:
        BadCertificate: there is no last good pair to keep yet.
    """

    def __init__(
        self,
        files: CertificateFiles | None,
        *,
        host: str,
        metrics: Metrics,
        poll_s: float = POLL_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._files = files
        self._metrics = metrics
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._seen: tuple[bytes, bytes] | str = ""
        """Contents of the files, or why they could not be read."""
        self.problem = ""
        """Of the files as they are now.  Not empty: an older pair is in force."""
        if files is None:
            self._pair = key_pair.self_signed(host, datetime.now(UTC))
        else:
            self._seen = contents = files.read()
            self._pair = files.check(contents)
        self.context = key_pair.server_context()
        self._pair.load_into(self.context)

    def pair(self) -> KeyPair:
        """Also for other threads."""
        return self._pair

    def debug(self) -> dict[str, object]:
        """For a debug page: JSON's types only."""
        files = self._files
        return {
            "certificate": str(files.certificates) if files else "self-signed",
            "expires": datetime.fromtimestamp(self._pair.expires_s, UTC).isoformat(),
            "problem": self.problem,
        }

    async def run(self) -> None:
        """Look at the files every ``poll_s`` until cancelled."""
        while self._files is not None:
            await asyncio.sleep(self._poll_s)
            await self.poll()

    async def poll(self) -> ReloadOutcome:
        """Look at the files once."""
        if self._files is None:
            return ReloadOutcome.UNCHANGED
        outcome = await self._reload(self._files)
        self._metrics.certificate_reloaded(outcome)
        return outcome

    async def _reload(self, files: CertificateFiles) -> ReloadOutcome:
        contents = await asyncio.to_thread(_read, files)
        if contents == self._seen:
            return ReloadOutcome.UNCHANGED
        await asyncio.sleep(self._settle_s)
        if await asyncio.to_thread(_read, files) != contents:
            return ReloadOutcome.UNSETTLED
        self._seen = contents
        if isinstance(contents, str):
            return self._reject(contents)
        try:
            pair = files.check(contents)
        except BadCertificate as error:
            return self._reject(str(error))
        self.problem = ""
        if pair == self._pair:  # As before it was broken.
            return ReloadOutcome.UNCHANGED
        pair.load_into(self.context)
        self._pair = pair
        log.info("certificate.applied", extra=self.debug())
        return ReloadOutcome.APPLIED

    def _reject(self, problem: str) -> ReloadOutcome:
        self.problem = problem
        log.error("certificate.rejected", extra={"problem": problem})
        return ReloadOutcome.REJECTED


def _read(files: CertificateFiles) -> tuple[bytes, bytes] | str:
    try:
        return files.read()
    except BadCertificate as error:
        return str(error)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise BadCertificate(f"{path}: no such file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadCertificate(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise BadCertificate(f"{path}: has more than {MAX_FILE_BYTES} bytes")
    return content
