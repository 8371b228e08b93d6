"""The last good snapshot on a volume of the router's: for a start without an operator.

A file is a line of its header (magic, schema, SHA-256 of the rest) and a ``Snapshot`` message.
"""

import os
from pathlib import Path

from google.protobuf.message import DecodeError

from headway_api.snapshots import SCHEMA, Snapshot, sha256
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_proto.v1alpha1.messages import Undecodable, decoded, encoded

NAME = "snapshot"
_MAGIC = "headway-snapshot"


class Corrupt(Exception):
    """The file is not what was written, or another version's: in one line."""


def save(snapshot: Snapshot, folder: Path) -> None:
    """All or nothing, whenever the machine stops.  Raises: OSError."""
    content = encoded(snapshot, server_id="disk", sequence=0).SerializeToString()
    draft = folder / f".{NAME}.{os.getpid()}"
    with draft.open("wb") as file:
        file.write(f"{_MAGIC} {SCHEMA} {sha256(content)}\n".encode())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / NAME)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(folder: Path) -> Snapshot | None:
    """None: nothing was saved.  Raises: Corrupt."""
    path = folder / NAME
    try:
        header, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Corrupt(f"{path}: cannot be read: {error.strerror}") from error
    words = header.decode(errors="replace").split(" ")
    if len(words) != 3 or words[0] != _MAGIC:
        raise Corrupt(f"{path}: is no snapshot")
    if words[1] != str(SCHEMA):
        raise Corrupt(f"{path}: has schema {words[1]}, this router reads {SCHEMA}")
    if words[2] != sha256(content):
        raise Corrupt(f"{path}: is not what was written")
    try:
        return decoded(pb.Snapshot.FromString(content))
    except (DecodeError, Undecodable) as error:
        raise Corrupt(f"{path}: {error}") from error
