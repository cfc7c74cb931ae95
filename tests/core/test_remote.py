"""Addresses: one spelling, no credentials, and a folder for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._journal.place import choose_place, journal_of, remote_folder
from holodeck_gen._model.remote import canonical, folder_name, is_remote, refuse_half
from holodeck_gen.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("s3://b", "s3://b"),
        ("s3://b/", "s3://b"),
        ("s3a://b//a///c/", "s3://b/a/c"),
        ("S3://b/A", "s3://b/A"),
        ("azure://c/a", "az://c/a"),
        ("s3://b/%E5%A4%9C", "s3://b/夜"),
        ("s3://b/a%20b", "s3://b/a b"),
        ("s3://b/100%2525", "s3://b/100%2525"),
        ("s3://b/a%2Fb", "s3://b/a%2Fb"),
        ("hdfs://name:9000/a", "hdfs://name:9000/a"),
        ("memory://", "memory://"),
    ],
)
def test_one_spelling(address: str, spelling: str) -> None:
    assert canonical(address) == spelling


@settings(max_examples=30)
@given(st.text(alphabet="aB/%2 .?#:@夜", min_size=1, max_size=12))
def test_a_spelling_is_its_own(text: str) -> None:
    try:
        spelling = canonical(f"s3://b/{text}")
    except ConfigError:
        return
    assert canonical(spelling) == spelling
    name = folder_name(spelling)
    assert name == folder_name(f"s3a://b/{text}/")
    assert Path(name).name == name
    assert len(name.encode()) < 100


@pytest.mark.parametrize(
    "address",
    [
        "s3://id:canary@b/a",
        "https://b/a?sig=canary",
        "s3://b/a#canary",
        "s3://[canary/a",
    ],
)
def test_what_may_be_a_credential_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as error:
        canonical(address)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("address", ["s3://b/a/../c", "s3://b/%2E/c"])
def test_no_way_up(address: str) -> None:
    with pytest.raises(ConfigError, match=r"without '\.' and"):
        canonical(address)


def test_different_addresses_have_different_folders() -> None:
    addresses = [
        "s3://b/a",
        "s3://b-a",
        "gs://b/a",
        "s3://b/A",
        "s3://b/a/c",
        f"s3://b/{'x' * 300}",
    ]
    assert len({folder_name(each) for each in addresses}) == len(addresses)
    assert folder_name("s3://b/a").startswith("s3-b-a-")


def test_what_is_an_address() -> None:
    assert is_remote("s3://b")
    assert not any(is_remote(each) for each in (None, "out", "C:/out", Path("s3://b")))


@pytest.mark.parametrize("half", ["s3:/b/x", "S3:/b/x", "gcs:/b", Path("s3://b/x")])
def test_an_address_that_has_lost_a_slash_is_no_folder(half: str | Path) -> None:
    with pytest.raises(ConfigError, match="has one slash"):
        hg.Studio("procedural", output=half, config=hg.Config.of({}, environ={}))
    with pytest.raises(ConfigError, match="has one slash"):
        hg.generate("a door", provider="procedural", output=half)


@pytest.mark.parametrize("folder", ["./s3:/b", "s3", "C:/out", "/s3:/x", "s3:", "out"])
def test_a_folder_may_be_called_as_it_likes(folder: str) -> None:
    refuse_half(folder)


class TestJournal:
    """Where what is worked on is remembered."""

    def test_automatic(self) -> None:
        assert journal_of("automatic", "out") == Path("out").absolute() / "journal.sqlite3"
        assert journal_of("automatic", "s3://b/x/") == remote_folder("s3://b/x") / "journal.sqlite3"
        # What is in a memory is gone with it; nobody may believe it done.
        assert journal_of("automatic", "memory://x") is None
        assert journal_of("automatic", None) is None

    @pytest.mark.parametrize("choice", ["none", "invocation", None])
    def test_none_that_is_found_again(self, choice: str | None) -> None:
        assert journal_of(choice, "out") is None

    def test_a_folder_or_a_file(self) -> None:
        here = Path.cwd()
        Path("kept").write_text("")
        Path("odd.sqlite3").mkdir()
        assert journal_of("night", "out") == here / "night" / "journal.sqlite3"
        assert journal_of("night.11/", "out") == here / "night.11" / "journal.sqlite3"
        assert journal_of("a.sqlite3", "out") == here / "a.sqlite3"
        assert journal_of("kept", "out") == here / "kept"
        assert journal_of("odd.sqlite3", None) == here / "odd.sqlite3" / "journal.sqlite3"

    def test_an_address_needs_no_folder_for_files(self) -> None:
        place = choose_place("automatic", "s3://b", paid=False)
        assert place.output == remote_folder("s3://b")
        assert place.spool == place.output / ".spool"
        assert not place.output.exists()
