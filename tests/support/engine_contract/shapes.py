"""The shape of a JSON value: keys and types without the values."""

from typing import Any


def shape(value: Any) -> Any:
    """Objects keep their keys, arrays the distinct shapes of their items, scalars become types.

    A number with a fraction and one without are different types, as they are in the recordings.
    """
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            distinct: list[Any] = []
            for item in map(shape, value):
                if item not in distinct:
                    distinct.append(item)
            return distinct
        case None:
            return None
        case _:
            return type(value).__name__
