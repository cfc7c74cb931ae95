"""What ``holodeck-gen plugins NAME`` shows of everything that is built in."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

import pytest

from holodeck_gen._plugins.options import describe_options
from holodeck_gen._plugins.registry import Registry

BUILT_IN = sorted(
    each.name
    for each in entry_points(group="holodeck_gen")
    if each.dist and each.dist.name == "holodeck-gen"
)
#: Words of types that a reader need not look up.
_PLAIN = re.compile(r"(str|int|float|bool|Any|dict|list|one of '.*'| or |[\[\], ])+")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_has_a_plain_type_and_says_what_it_is(name: str) -> None:
    registrations = Registry().of_plugin(name)
    options = [row for each in registrations for row in describe_options(each.options)]
    assert registrations
    assert [row.name for row in options if not row.doc] == []
    assert [(row.name, row.type) for row in options if not _PLAIN.fullmatch(row.type)] == []
