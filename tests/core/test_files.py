"""Files are whole or absent, below their folder, and never overwritten."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen.errors import StorageError
from holodeck_gen.files import check_writable, overwrite, place, safe_component, safe_name, tidy


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "source.raw"
    file.write_bytes(b"picture")
    return file


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a/b", "a_b"),
        ("a\\b", "a_b"),
        ("a\x00b", "a_b"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("~", "_~"),
        ("-rf", "_-rf"),
        (".hidden", "hidden"),
        ("a／b", "a_b"),
        ("a\u202eb", "a_b"),
        ("end. ", "end"),
        ("山 水", "山 水"),
        ("🙂", "🙂"),
    ],
)
def test_components(text: str, safe: str) -> None:
    assert safe_component(text) == safe


@pytest.mark.parametrize("name", ["CON", "con", "NUL", "com1", "LPT9.txt"])
def test_reserved_names_are_changed(name: str) -> None:
    assert safe_component(name).split(".")[0].upper() not in {"CON", "NUL", "COM1", "LPT9"}


def test_long_names_are_cut_between_characters() -> None:
    assert len(safe_component("山" * 300).encode()) <= 200
    assert set(safe_component("山" * 300)) == {"山"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:x", "c:\\x", "\\x", "", "."])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(StorageError):
        safe_name(name)


@given(st.text())
def test_no_name_leaves_the_folder(text: str) -> None:
    try:
        name = safe_name(text)
    except StorageError:
        return
    path = Path("/out") / name
    assert Path(os.path.normpath(path)).is_relative_to("/out")
    assert path != Path("/out")
    assert all(len(part.encode()) <= 255 for part in path.parts)


def test_equal_bytes_again_are_success(tmp_path: Path, picture: Path) -> None:
    first = place(picture, tmp_path / "out", "a.png")
    assert place(picture, tmp_path / "out", "a.png") == first
    tidy(tmp_path / "out")
    assert [file.name for file in first.parent.iterdir()] == ["a.png"]


def test_only_what_nobody_is_writing_is_tidied_up(tmp_path: Path, picture: Path) -> None:
    place(picture, tmp_path / "out", "a.png")
    aside = tmp_path / "out" / ".part"
    (aside / "left").write_bytes(b"half a pict")
    with (aside / "in work").open("wb") as stream:
        # As another process does while it writes; a lock of this one's would be its own.
        fcntl.flock(stream, fcntl.LOCK_EX)
        tidy(tmp_path / "out")
        assert [file.name for file in aside.iterdir()] == ["in work"]
    tidy(tmp_path / "out")
    assert not aside.exists()


def test_what_is_about_to_get_its_name_is_not_tidied_up(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may end just then, with the same folder."""
    link = os.link

    def meanwhile(*paths: str) -> None:
        tidy(tmp_path / "out")
        link(*paths)

    monkeypatch.setattr(os, "link", meanwhile)
    assert place(picture, tmp_path / "out", "a.png").read_bytes() == b"picture"


def test_a_file_that_somebody_has_removed_leaves_no_empty_one_in_its_place(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a tidier may that does not see locks."""
    link = os.link

    def gone(aside: str, target: str) -> None:
        Path(aside).unlink()
        link(aside, target)

    monkeypatch.setattr(os, "link", gone)
    with pytest.raises(FileNotFoundError):
        place(picture, tmp_path / "out", "a.png")
    assert not (tmp_path / "out" / "a.png").exists()


def test_the_whole_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    place(picture, tmp_path / "out", "a.png")
    assert synced[0] == len(b"picture")


def test_a_link_in_the_place_of_the_folder_aside_is_not_followed(
    tmp_path: Path, picture: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_bytes(b"a stranger's")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a link"):
        place(picture, tmp_path / "out", "a.png")
    tidy(tmp_path / "out")
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_another_file_is_never_overwritten(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a stranger's")
    with pytest.raises(FileExistsError):
        place(picture, tmp_path, "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"a stranger's"


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path, picture: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(outside)
    with pytest.raises(FileExistsError):
        place(picture, tmp_path / "out", "a.png")
    assert not outside.exists()


def test_a_linked_folder_inside_the_output_is_refused(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a link"):
        place(picture, tmp_path / "out", "sub/a.png")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_output_folder_that_is_itself_a_link_is_the_users_choice(
    tmp_path: Path, picture: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert place(picture, tmp_path / "out", "a.png") == (tmp_path / "disk" / "a.png").resolve()


def test_pictures_are_as_readable_as_the_umask_allows(tmp_path: Path, picture: Path) -> None:
    mask = os.umask(0o027)
    try:
        placed = place(picture, tmp_path, "a.png")
    finally:
        os.umask(mask)
    assert placed.stat().st_mode & 0o777 == 0o640


def test_without_hard_links_the_name_is_claimed_first(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", unsupported)
    assert place(picture, tmp_path / "out", "a.png").read_bytes() == b"picture"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write into"):
        check_writable(tmp_path / "file" / "out")


class TestOverwrite:
    """For files that their users name."""

    def test_replaces_what_is_there(self, tmp_path: Path, picture: Path) -> None:
        target = tmp_path / "new" / "a.png"
        assert overwrite(picture, target) == target
        picture.write_bytes(b"another")
        overwrite(picture, target)
        assert target.read_bytes() == b"another"
        assert list(target.parent.iterdir()) == [target]

    def test_keeps_what_is_there_when_it_fails(
        self, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "a.png"
        target.write_text("old")

        def full(_descriptor: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            overwrite(picture, target)
        assert target.read_text() == "old"
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", picture.name]

    def test_follows_a_link(self, tmp_path: Path, picture: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "a.png").symlink_to(tmp_path / "disk" / "b.png")
        overwrite(picture, tmp_path / "a.png")
        assert (tmp_path / "a.png").is_symlink()
        assert (tmp_path / "disk" / "b.png").read_bytes() == b"picture"

    def test_is_as_readable_as_the_umask_allows(self, tmp_path: Path, picture: Path) -> None:
        mask = os.umask(0o027)
        try:
            written = overwrite(picture, tmp_path / "a.png")
        finally:
            os.umask(mask)
        assert written.stat().st_mode & 0o777 == 0o640
