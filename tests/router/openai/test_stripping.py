"""Whatever a client says to an engine past the router does not reach it."""

import orjson
import pytest

from headway_router.openai.stripping import ENGINE_FIELDS, remove_engine_fields


def escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}"


@pytest.mark.parametrize("field", ENGINE_FIELDS)
@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda f: f'{{"{f}": {{"a": 1}}, "model": "m"}}', id="plain"),
        pytest.param(
            lambda f: "".join(['{"', *map(escaped, f), '": 1, "model": "m"}']),
            id="every letter escaped",
        ),
        pytest.param(
            lambda f: f'{{"{f[:-1]}\\u{ord(f[-1]):04X}": 1, "model": "m"}}', id="upper hex"
        ),
        pytest.param(lambda f: f'{{"{f}": 1, "model": "m", "{f}": {{}}}}', id="twice"),
        pytest.param(lambda f: f'{{"{f}": null, "model": "m"}}', id="null"),
        pytest.param(lambda f: f'{{ \n\t"{f}" : [1] , "model":"m"}}', id="white space"),
    ],
)
def test_a_field_is_found_however_it_is_spelled(field: str, spelling: object) -> None:
    assert callable(spelling)
    body = orjson.loads(spelling(field))
    assert remove_engine_fields(body)
    assert body == {"model": "m"}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"vllm_xargs": {"kv_transfer_params": 1, "x": 2}}, {"vllm_xargs": {"x": 2}}),
        (
            {"sampling_params": {"extra_args": {"ec_transfer_params": 1}, "n": 1}},
            {"sampling_params": {"extra_args": {}, "n": 1}},
        ),
    ],
)
def test_it_looks_where_engines_take_extra_arguments_from(
    body: dict[str, object], left: dict[str, object]
) -> None:
    assert remove_engine_fields(body)
    assert body == left


def test_the_words_of_a_prompt_are_left_alone() -> None:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "kv_transfer_params"}]}
    assert not remove_engine_fields(body)
    assert body == {"messages": [{"role": "user", "content": "kv_transfer_params"}]}
