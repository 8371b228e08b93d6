"""An operator table: columns of equal length."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from headway_sim.errors import MissingTables

Floats = npt.NDArray[np.float64]


class Table:
    """Rows that can be narrowed by the values of columns."""

    def __init__(self, name: str, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        self.name = name
        self._columns = columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def has(self, column: str) -> bool:
        return column in self._columns

    def numbers(self, column: str) -> Floats:
        return self._column(column).astype(np.float64)

    def values(self, column: str) -> set[Any]:
        return set(self._column(column).tolist())

    def where(self, **wanted: object) -> "Table":
        """Rows with these values.  May be none."""
        keep = np.ones(len(self), dtype=bool)
        for column, value in wanted.items():
            keep &= self._column(column) == value
        return Table(self.name, {name: values[keep] for name, values in self._columns.items()})

    def _column(self, column: str) -> npt.NDArray[Any]:
        try:
            return self._columns[column]
        except KeyError:
            raise MissingTables(f"{self.name} has no column {column!r}") from None


def read_parquet(content: bytes, name: str) -> Table:
    """Raises: MissingTables: it cannot be read, here or at all."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingTables("reading operator tables needs the extra 'profiles'") from None
    try:
        found = parquet.read_table(BytesIO(content))
    except (ArrowException, OSError) as error:
        raise MissingTables(f"{name} cannot be read: {error}") from error
    return Table(name, {c: found[c].to_numpy(zero_copy_only=False) for c in found.column_names})
