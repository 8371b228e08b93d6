"""h2spec, an independent suite of HTTP/2's rules, against the transport as it is configured."""

import asyncio
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from edge.harness import Edge
from go_toolchain import Unavailable
from h2_peer.h2spec import h2spec
from headway_router.health import Health
from headway_router.transport.h2.server import H2Transport, limits_for
from machine_cache import Tell

pytestmark = pytest.mark.slow

_HAS_A_TABLE = (
    "h2spec compresses with a table of 4,096 bytes, whatever the server's"
    " SETTINGS_HEADER_TABLE_SIZE, which is 0 here: RFC 7541, 4.2, calls that a decoding error"
)
EXCEPTIONS = {
    "Sends a dynamic table size update": _HAS_A_TABLE,
    "Sends multiple dynamic table size update": _HAS_A_TABLE,
    "Sends multiple CONTINUATION frames preceded by a HEADERS frame": _HAS_A_TABLE,
}


@pytest.fixture(scope="session")
def binary(tell: Tell) -> Path:
    try:
        return h2spec(tell)
    except Unavailable as reason:
        tell(f"nothing is tested with h2spec: {reason}")
        pytest.skip(str(reason))


@pytest.mark.timeout(900)  # It may have to be built.
async def test_all_parts_of_h2spec_pass_but_for_known_exceptions(
    binary: Path, tmp_path: Path
) -> None:
    edge, report = Edge(), tmp_path / "report.xml"
    address = "127.0.0.1"
    transport = H2Transport(
        edge.processor, Health(), host=address, port=0, limits=limits_for(2**20)
    )
    await transport.start()
    command = (binary, "-h", address, "-p", str(transport.port), "-o", "20", "-j", report)
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(280):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await transport.stop(0)
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) > 140, output.decode()
    failed = {_name(case) for case in cases if case.find("error") is not None}
    skipped = {_name(case) for case in cases if case.find("skipped") is not None}
    assert failed == EXCEPTIONS.keys(), output.decode()
    assert skipped == set()
    assert edge.is_idle


def _name(case: ET.Element) -> str:
    return re.sub(r"\s+", " ", case.attrib["classname"])
