"""The processor that changes a picture's format and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError
from holodeck_gen_plugins.processors._metadata import Format
from holodeck_gen_plugins.processors._pictures import SUFFIXES, Picture, open_picture, save
from holodeck_gen_plugins.processors._shape import Shape, parse_aspect, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_positive = attrs.validators.optional(attrs.validators.ge(1))


def _parses(parse: Callable[[str], object]) -> Any:
    def check(_options: object, _field: object, value: str | None) -> None:
        if value is not None:
            parse(value)

    return check


@attrs.frozen(kw_only=True)
class ConvertOptions:
    """Options of the converter. What is not set stays as it is.

    Attributes:
        format: png, jpeg or webp.
        quality: From 1 to 100, for JPEG and WebP.
        aspect: Sides such as 16:9; what is too much is cut off on both sides alike.
        size: Pixels such as 640x480; cut to this aspect, then scaled, also up.
        max_side: Pixels that no side exceeds; larger pictures are scaled down.
        background: A color to show through in JPEG, which has no transparency.
        convert_signed: Whether a picture with a C2PA signature is converted, too. What comes
            out has no signature.
    """

    format: Format | None = None
    quality: int = attrs.field(
        default=90,
        validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(100)),
    )
    aspect: str | None = attrs.field(default=None, validator=_parses(parse_aspect))
    size: str | None = attrs.field(default=None, validator=_parses(parse_size))
    max_side: int | None = attrs.field(default=None, validator=_positive)
    background: str = "white"
    convert_signed: bool = False

    def shape(self, size: tuple[int, int]) -> Shape:
        """What becomes of a picture of `size` pixels."""
        return Shape.of(
            size,
            aspect=parse_aspect(self.aspect) if self.aspect else None,
            exact=parse_size(self.size) if self.size else None,
            max_side=self.max_side,
        )


@attrs.frozen
class Convert:
    """Changes a picture's format and shape; where nothing is to be done, no byte of it."""

    options: ConvertOptions
    ctx: hg.Context

    def __call__(self, file: Path, task: hg.Task) -> Path:
        """The picture as it is wanted. As `holodeck_gen.Processor`."""
        picture = open_picture(file)
        if picture is None:
            return file
        with picture:
            format = self.options.format or picture.format or "png"
            shape = self.options.shape(picture.size)
            if format == picture.format and not shape.changes(picture.size):
                return file
            if reason := self._left_alone(picture):
                self.ctx.log.warning("picture.not_converted", task=task.id, reason=reason)
                return file
            return self._converted(picture, shape, file.with_suffix(SUFFIXES[format]), format)

    def _left_alone(self, picture: Picture) -> str | None:
        if picture.metadata.signed and not self.options.convert_signed:
            return "it has a C2PA signature, which would be lost; see convert_signed"
        return "it is animated" if picture.animated else None

    def _converted(self, picture: Picture, shape: Shape, target: Path, format: Format) -> Path:
        from PIL.Image import Resampling

        decoded = picture.decoded()
        image = decoded.image
        if shape.changes(image.size):
            image = image.resize(shape.size, Resampling.LANCZOS, box=shape.box)
        save(
            image,
            target,
            format=format,
            quality=self.options.quality,
            background=self.options.background,
            source=decoded.metadata,
        )
        return target


def make_convert(options: ConvertOptions | None, ctx: hg.Context) -> Convert:
    """The factory.

    Raises:
        ConfigError: The background is no color.
    """
    options = options or ConvertOptions()
    if options.background != ConvertOptions().background:
        from PIL import ImageColor

        try:
            ImageColor.getrgb(options.background)
        except ValueError as error:
            raise ConfigError(f"convert: background: {error}") from error
    return Convert(options, ctx)


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    """Register the processor."""
    register(
        "convert",
        make_convert,
        options=ConvertOptions,
        summary="Changes format, size and aspect; keeps labels and metadata.",
    )
