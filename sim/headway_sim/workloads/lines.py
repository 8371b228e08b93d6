"""Lines of a trace, packed or not."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from headway_sim.errors import InvalidTrace


def text_lines(path: Path) -> Iterator[str]:
    """Of a text file, or of a ``.gz``.

    Raises: InvalidTrace: it is missing or damaged.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            yield from lines
    except FileNotFoundError:
        raise InvalidTrace(path, "no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InvalidTrace(path, f"cannot be read: {error}") from error
