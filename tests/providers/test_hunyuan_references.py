"""Reference pictures: what is taken, what is noted of it, and what is refused."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from PIL import Image

import holodeck_gen as hg
from hunyuan_fake import body, prepared, refusal

if TYPE_CHECKING:
    from pathlib import Path

WEB = "https://example.com/cat.png"


class TestReferences:
    @pytest.mark.parametrize(
        ("dialect", "model", "most"),
        [
            ("tokenhub", None, 3),
            ("tokenhub", "hy-image-v3", 3),
            ("tokenhub", "hy-image-v3.5-preview", 20),
            ("aiart", None, 3),
            ("aiart", "rapid", 1),
            ("hunyuan", None, 1),
        ],
    )
    def test_their_number_is_bounded(self, dialect: str, model: str | None, most: int) -> None:
        prepared(dialect, hg.Task("a", model=model, inputs=[WEB] * most))
        words = refusal(dialect, model=model, inputs=[WEB] * (most + 1))
        assert f"takes {most} reference" in words

    def test_a_file_is_noted_not_copied(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "cat.png")
        [noted] = prepared("aiart", hg.Task("a", inputs=[path])).request["references"]
        assert set(noted) == {"path", "sha256", "media_type"}
        assert (noted["path"], noted["media_type"]) == (str(path), "image/png")

    def test_an_artifact_is_taken_like_its_file(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "cat.jpg")
        artifact = hg.Artifact(path=path, media_type="image/jpeg", sha256="0" * 64, size_bytes=1)
        plain = prepared("tokenhub", hg.Task("a", inputs=[path]))
        assert prepared("tokenhub", hg.Task("a", inputs=[artifact])).request == plain.request

    def test_an_artifact_in_a_store_goes_by_its_address_if_that_is_of_the_web(self) -> None:
        artifact = hg.Artifact(uri=WEB, media_type="image/png", sha256="0" * 64, size_bytes=1)
        made = prepared("aiart", hg.Task("a", inputs=[artifact]))
        assert made.request["references"] == ({"url": WEB},)
        elsewhere = attrs.evolve(artifact, uri="s3://bucket/cat.png")
        assert "neither" in refusal("aiart", inputs=[elsewhere])

    def test_a_relative_path_is_that_of_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A resume may run in another folder."""
        monkeypatch.chdir(tmp_path)
        picture(tmp_path / "cat.png")
        [noted] = prepared("aiart", hg.Task("a", inputs=["cat.png"])).request["references"]
        assert noted["path"] == str(tmp_path / "cat.png")

    @pytest.mark.parametrize(
        ("dialect", "name", "size", "words"),
        [
            ("aiart", "cat.png", (49, 100), "50 to 5000"),
            ("hunyuan", "cat.png", (5000, 10), "1 to 4999"),
            ("hunyuan", "cat.webp", (100, 100), "takes png, jpeg"),
            ("ai3d", "cat.png", (127, 200), "128 to 5000"),
        ],
    )
    def test_what_a_model_does_not_take_is_refused(
        self, tmp_path: Path, dialect: str, name: str, size: tuple[int, int], words: str
    ) -> None:
        path = picture(tmp_path / name, size)
        kind = "model3d" if dialect == "ai3d" else "image"
        prompt = "" if dialect == "ai3d" else "a"
        assert words in refusal(dialect, prompt, kind=kind, inputs=[path])

    def test_a_file_may_be_too_large(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "cat.png")
        with path.open("ab") as file:
            file.truncate(6 * 2**20)
        assert "bytes" in refusal("aiart", inputs=[path])

    def test_what_is_refused_is_not_read_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file of any size was read to its end, to be refused for its size."""
        path = picture(tmp_path / "cat.png", (49, 100))
        monkeypatch.setattr(hashlib, "file_digest", None)
        assert "50 to 5000" in refusal("aiart", inputs=[path])

    @pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
    def test_a_file_that_cannot_be_read_is_refused(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        path = tmp_path / "cat.png"
        if content is not None:
            path.write_bytes(content)
        assert "cannot be read" in refusal("aiart", inputs=[path])

    def test_a_file_that_was_replaced_is_looked_at_again(self, tmp_path: Path) -> None:
        """Also where its length is what it was."""
        path = picture(tmp_path / "cat.bmp")
        first = prepared("aiart", hg.Task("a", inputs=[path])).request
        Image.new("RGB", (150, 150), "red").save(path)
        os.utime(path, ns=(1, 1))
        assert prepared("aiart", hg.Task("a", inputs=[path])).request != first

    @pytest.mark.parametrize("fields", [{"style": "3"}, {"size": "1024x1024"}])
    def test_the_rapid_one_takes_neither_style_nor_size_beside_them(
        self, fields: dict[str, Any]
    ) -> None:
        assert "beside" in refusal("aiart", model="rapid", inputs=[WEB], **fields)

    def test_a_3d_model_comes_from_words_or_a_picture(self) -> None:
        made = prepared("ai3d", hg.Task(inputs=[WEB], kind="model3d"))
        assert "Prompt" not in made.request["body"]
        assert "not both" in refusal("ai3d", kind="model3d", inputs=[WEB])
        options = {"generate_type": "sketch"}
        sketch = body("ai3d", kind="model3d", inputs=[WEB], provider_options=options)
        assert (sketch["Prompt"], sketch["GenerateType"]) == ("a", "Sketch")


def picture(path: Path, size: tuple[int, int] = (150, 150)) -> Path:
    Image.new("RGB", size).save(path)
    return path
