"""Options become an instance of the class that documents them, or one line says why not."""

from __future__ import annotations

import attrs
import pytest

from holodeck_gen._options import parse_options
from holodeck_gen.errors import ConfigError


@attrs.frozen(kw_only=True)
class Options:
    url: str
    model: str
    tries: int = 3


def test_text_is_converted() -> None:
    options = parse_options(Options, {"url": "u", "model": "m", "tries": "5"}, where="chat")
    assert options == Options(url="u", model="m", tries=5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "chat needs 'url' and 'model'"),
        ({"url": "u"}, "chat needs 'model'"),
        ({"url": "u", "model": "m", "modle": 1}, "chat has no option 'modle'; did you mean"),
        ({"url": "u", "model": "m", "tries": "x"}, "chat: option 'tries'"),
    ],
)
def test_what_is_wrong_is_said_in_the_users_words(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(Options, values, where="chat")
    assert str(caught.value).startswith(said)
