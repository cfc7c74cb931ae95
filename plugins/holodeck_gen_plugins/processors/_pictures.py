"""Opening a picture and writing it anew without losing what the file said of it."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen_plugins.processors._metadata import (
    Format,
    Metadata,
    has_manifest,
    read_metadata,
    with_metadata,
)
from holodeck_gen_plugins.processors._provenance import AIGC, AIGC_TEXT, PARAMETERS
from holodeck_gen_plugins.processors._xmp import value_of, with_properties

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

_ORIENTATION, _EXIF_IFD, _USER_COMMENT = 0x0112, 0x8769, 0x9286
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:>|=\s*[\"']))\d")
#: The color space that a profile is for, by its bytes 16 to 19 (ICC.1:2022, 7.2.8).
_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB ", "CMYK": b"CMYK"}

#: Of zlib. Noisy pictures of 1024² become no smaller with Pillow's own 6, which takes twice as
#: long (measured: 0.5 s and 1 s).
PNG_LEVEL = 4

SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
#: By Pillow's names, those that are opened; the engine takes no others for pictures.
OPENED = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
FORMATS: dict[str | None, Format] = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp"}


@attrs.frozen(kw_only=True)
class Picture:
    """A picture that was opened but not yet decoded.

    Attributes:
        image: Close it by leaving the picture's ``with`` block.
        metadata: What its file says; for a format other than PNG, JPEG and WebP only whether it
            is signed.
        format: None likewise.
    """

    image: Image
    metadata: Metadata
    format: Format | None

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *_: object) -> None:
        self.image.close()

    @property
    def media_type(self) -> str:
        """Of the file."""
        from PIL import Image

        return Image.MIME.get(self.image.format or "", "application/octet-stream")

    @property
    def animated(self) -> bool:
        """Whether it has more frames than a plain picture; a second view in MPO is no frame."""
        return self.image.format != "MPO" and bool(getattr(self.image, "is_animated", False))

    @property
    def turned(self) -> bool:
        """Whether Exif or XMP wants it shown otherwise than it is stored."""
        return self._orientation != 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as it is shown."""
        width, height = self.image.size
        return (height, width) if self._orientation in (5, 6, 7, 8) else (width, height)

    @property
    def _orientation(self) -> int:
        words = self.metadata
        if self.format == "png" and not (words.exif or words.xmp or words.texts):
            # Pillow decodes all of a PNG file before it says that it has no Exif.
            return 1
        try:
            return int(self.image.getexif().get(_ORIENTATION, 1))
        except Exception:
            # Several kinds; a picture is no worse for damaged Exif, which is kept as it is.
            return 1

    def decoded(self) -> Picture:
        """The same as it is shown, in a mode that filters work with: 8 bits, no palette."""
        image, metadata = self.image, self.metadata
        image.load()
        if self.turned:
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
            xmp = metadata.xmp
            metadata = attrs.evolve(
                metadata,
                exif=image.getexif().tobytes().removeprefix(b"Exif\0\0"),
                xmp=None if xmp is None else _XMP_ORIENTATION.sub(rb"\g<1>1", xmp),
            )
        plain = _plain(image)
        plain.info = {"icc_profile": image.info.get("icc_profile")}
        return attrs.evolve(self, image=plain, metadata=metadata)


def open_picture(file: Path) -> Picture | None:
    """Open a picture; None where the file is none, as a 3D model or a sidecar is.

    Raises:
        ValueError: It is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    # Registers those that this Pillow has.
    Image.init()
    try:
        image = Image.open(file, formats=[each for each in OPENED if each in Image.OPEN])
    except UnidentifiedImageError:
        return None
    try:
        data = file.read_bytes()
        metadata = read_metadata(data) or Metadata(signed=has_manifest(data))
    except BaseException:
        image.close()
        raise
    return Picture(image=image, metadata=metadata, format=FORMATS.get(image.format))


def save(
    image: Image, target: Path, *, format: Format, quality: int, background: str, source: Metadata
) -> None:
    """Encode `image` into `target`, with what `source` says of it as far as `format` can hold it.

    Kept are XMP, Exif, the color profile where it fits, and between PNG files all texts. In
    other formats an AIGC label moves into XMP, and generation parameters become Exif's comment
    where there is no other Exif.

    Args:
        image: As `Picture.decoded` gives it.
        target: Where to; overwritten.
        format: Of the file.
        quality: 1 to 100, for JPEG and WebP.
        background: What shows through in JPEG, which has no transparency.
        source: Of the file that `image` is from.

    Raises:
        ValueError: A label cannot be kept.
    """
    profile = image.info.get("icc_profile")
    image = _in_mode_of(image, format, background)
    options: dict[str, Any] = {"quality": quality}
    if format == "png":
        options = {"compress_level": PNG_LEVEL}
    if profile and profile[16:20] == _SPACES.get(image.mode):
        options["icc_profile"] = profile
    xmp, exif = source.xmp, source.exif
    if format != "png":
        if not exif and PARAMETERS in source.texts:
            exif = _comment(source.texts[PARAMETERS])
        label = source.texts.get(AIGC_TEXT)
        if label and value_of(xmp, AIGC) is None:
            xmp = with_properties(xmp, [attrs.evolve(AIGC, value=label)])
    # What Pillow finds in `info` it would write in its own way, or not at all.
    image.info = {}
    image.save(target, format, exif=b"Exif\0\0" + exif if exif else b"", **options)
    texts = source.texts if format == "png" else {}
    if xmp is not None or texts:
        target.write_bytes(with_metadata(target.read_bytes(), xmp=xmp, texts=texts))


def _plain(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I"):
        # 16 bits a pixel; Pillow would cut off all that is above 255.
        import numpy as np

        return Images.fromarray((np.asarray(image).astype("uint32") >> 8).astype("uint8"))
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("1", "F"):
        return image.convert("L")
    return image.copy() if image.mode in ("L", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _in_mode_of(image: Image, format: Format, background: str) -> Image:
    """A copy in a mode that `format` takes."""
    from PIL import Image as Images

    if image.mode == "RGBA" and format == "jpeg":
        below = Images.new("RGBA", image.size, background)
        return Images.alpha_composite(below, image).convert("RGB")
    grey = image.mode == "L" and format == "webp"
    print_colors = image.mode == "CMYK" and format != "jpeg"
    return image.convert("RGB") if grey or print_colors else image.copy()


def _comment(text: str) -> bytes:
    """Exif that holds nothing but a comment; Pillow would give the comment a wrong type."""
    words = b"UNICODE\0" + text.encode("utf-16-be")
    inner = struct.pack(">HHHIIxxxx", 1, _USER_COMMENT, 7, len(words), 44)
    return struct.pack(">2sHIHHHIIxxxx", b"MM", 42, 8, 1, _EXIF_IFD, 4, 1, 26) + inner + words
