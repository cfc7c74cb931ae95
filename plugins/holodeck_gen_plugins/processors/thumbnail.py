"""The processor that puts a small picture beside each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen_plugins.processors._metadata import Format, Metadata
from holodeck_gen_plugins.processors._pictures import SUFFIXES, Picture, open_picture, save
from holodeck_gen_plugins.processors._provenance import AIGC_TEXT
from holodeck_gen_plugins.processors._shape import Shape

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(kw_only=True)
class ThumbnailOptions:
    """Options of thumbnails.

    Attributes:
        size: Pixels of the longer side, at most.
        suffix: What is added to the picture's name: a dash or an underscore, then letters, digits
            and more of these.
        format: Of the small picture: png, jpeg or webp.
        quality: From 1 to 100, for JPEG and WebP.
        background: A color to show through in JPEG, which has no transparency.
    """

    size: int = attrs.field(default=256, validator=attrs.validators.ge(1))
    suffix: str = attrs.field(
        default="-thumb", validator=attrs.validators.matches_re(r"[-_][-\w]{0,40}")
    )
    format: Format = "jpeg"
    quality: int = attrs.field(
        default=80,
        validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(100)),
    )
    background: str = "white"


@attrs.frozen
class Thumbnail:
    """Adds a second, small file. It carries the picture's labels, and no other metadata."""

    options: ThumbnailOptions

    def __call__(self, file: Path, task: hg.Task) -> Path | list[Path]:
        """The picture and its thumbnail. As `holodeck_gen.Processor`."""
        picture = open_picture(file)
        if picture is None:
            return file
        with picture:
            small = file.with_name(
                f"{file.stem}{self.options.suffix}{SUFFIXES[self.options.format]}"
            )
            self._draw(picture, small)
        return [file, small]

    def _draw(self, picture: Picture, target: Path) -> None:
        from PIL.Image import Resampling

        side = self.options.size
        # A JPEG file is decoded at a fraction of its size where that is enough.
        picture.image.draft(None, (side, side))
        decoded = picture.decoded()
        shape = Shape.of(decoded.image.size, max_side=side)
        image = decoded.image.resize(shape.size, Resampling.LANCZOS)
        words = decoded.metadata
        labels = {key: text for key, text in words.texts.items() if key == AIGC_TEXT}
        save(
            image,
            target,
            format=self.options.format,
            quality=self.options.quality,
            background=self.options.background,
            source=Metadata(xmp=words.xmp, texts=labels),
        )


def make_thumbnail(options: ThumbnailOptions | None, _ctx: hg.Context) -> Thumbnail:
    """The factory."""
    return Thumbnail(options or ThumbnailOptions())


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    """Register the processor."""
    register(
        "thumbnail",
        make_thumbnail,
        options=ThumbnailOptions,
        summary="Puts a small picture beside each picture.",
    )
