"""The processor that says in a picture's file that a program made it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError
from holodeck_gen_plugins.processors._metadata import Metadata, with_metadata
from holodeck_gen_plugins.processors._pictures import Picture, open_picture, save
from holodeck_gen_plugins.processors._provenance import (
    AIGC,
    AIGC_TEXT,
    PARAMETERS,
    SOURCE_TYPE,
    SOURCE_TYPES,
    SourceType,
    aigc_label,
    new_aigc_label,
    parameters,
)
from holodeck_gen_plugins.processors._visible import MIN_SHARE, Corner, VisibleLabel
from holodeck_gen_plugins.processors._xmp import Property, value_of, with_properties

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The end of the name of a file that says what the picture beside it cannot.
SIDECAR = ".xmp"
#: For the few pictures that are encoded anew because words are drawn on them.
_QUALITY = 95


@attrs.frozen(kw_only=True)
class LabelOptions:
    """Options of labels. What a provider has already said is neither replaced nor removed.

    Attributes:
        source_type: IPTC's word for how the pictures are made: trainedAlgorithmicMedia,
            compositeWithTrainedAlgorithmicMedia, or algorithmicMedia where no trained model
            makes them; "none" adds none.
        parameters: Whether a PNG file gets prompt, seed, size and model as text.
        producer: The code by which GB 45438-2025 knows you. Without it there is no AIGC label.
        visible: Words to be drawn on the picture; none where empty.
        visible_share: Their height as a share of the shorter side, from 0.05 to 0.5.
        corner: Where they are drawn: top-left, top-right, bottom-left or bottom-right.
        font: A font file with their characters; Pillow's own has Latin letters only.
    """

    source_type: SourceType = "trainedAlgorithmicMedia"
    parameters: bool = True
    producer: str | None = None
    visible: str = ""
    visible_share: float = attrs.field(
        default=MIN_SHARE,
        validator=attrs.validators.and_(attrs.validators.ge(MIN_SHARE), attrs.validators.le(0.5)),
    )
    corner: Corner = "bottom-right"
    font: str | None = None


@attrs.frozen
class Label:
    """Adds what is missing. Pixels stay as they are unless there are words to be drawn.

    A signed picture is not touched, and what cannot hold a label neither: what there is to say
    is then in a file beside it.
    """

    options: LabelOptions
    version: str
    ctx: hg.Context

    def __call__(self, file: Path, task: hg.Task) -> Path | list[Path]:
        """The labelled picture, perhaps with a sidecar. As `holodeck_gen.Processor`."""
        picture = open_picture(file)
        if picture is None:
            return file
        with picture:
            plain = picture.format is not None and not picture.metadata.signed
            if self.options.visible:
                if plain and not picture.animated:
                    picture = self._draw(picture, file)
                else:
                    reason = "signed" if picture.metadata.signed else "of another format"
                    self.ctx.log.warning("picture.not_drawn_on", task=task.id, reason=reason)
            texts = dict(self._texts(picture, task))
            properties = list(self._properties(picture.metadata, file))
            if plain:
                if self._written(picture, file, properties, texts):
                    return file
                self.ctx.log.warning("picture.labelled_beside", task=task.id, reason="odd XMP")
            return self._beside(file, properties)

    def _properties(self, words: Metadata, file: Path) -> Iterator[Property]:
        """What XMP does not say yet."""
        wanted = self.options.source_type
        if wanted != "none" and _absent(words, SOURCE_TYPE):
            yield attrs.evolve(SOURCE_TYPE, value=SOURCE_TYPES + wanted)
        if self.options.producer and _unlabelled(words):
            # From the bytes, so that the same picture has the same number when it is made again.
            number = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
            yield attrs.evolve(AIGC, value=new_aigc_label(self.options.producer, number))

    def _texts(self, picture: Picture, task: hg.Task) -> Iterator[tuple[str, str]]:
        """What a PNG file's texts do not say yet, but for the label, which goes with XMP's."""
        asked = picture.format == "png" and self.options.parameters
        if asked and PARAMETERS not in picture.metadata.texts:
            yield PARAMETERS, parameters(task, picture.size, self.version)

    def _written(
        self, picture: Picture, file: Path, properties: list[Property], texts: dict[str, str]
    ) -> bool:
        """Whether the file could be given all of it; where not, it is as it was."""
        label = next((each.value for each in properties if each.name == AIGC.name), None)
        if picture.format == "png" and label:
            texts = {**texts, AIGC_TEXT: label}
        if not properties and not texts:
            return True
        data = file.read_bytes()
        try:
            xmp = with_properties(picture.metadata.xmp, properties) if properties else None
            file.write_bytes(with_metadata(data, xmp=xmp, texts=texts))
        except ValueError:
            return False
        return True

    def _beside(self, file: Path, properties: list[Property]) -> Path | list[Path]:
        if not properties:
            return file
        sidecar = file.with_suffix(SIDECAR)
        sidecar.write_bytes(with_properties(None, properties))
        return [file, sidecar]

    def _draw(self, picture: Picture, file: Path) -> Picture:
        assert picture.format is not None
        options = self.options
        words = VisibleLabel(
            text=options.visible,
            share=options.visible_share,
            corner=options.corner,
            font=options.font,
        )
        decoded = picture.decoded()
        image = words.drawn_on(decoded.image)
        save(
            image,
            file,
            format=picture.format,
            quality=_QUALITY,
            background="white",
            source=decoded.metadata,
        )
        return attrs.evolve(decoded, image=image)


def _absent(words: Metadata, wanted: Property) -> bool:
    try:
        return value_of(words.xmp, wanted) is None
    except ValueError:
        # What cannot be read is not overwritten; the sidecar says it.
        return True


def _unlabelled(words: Metadata) -> bool:
    try:
        return aigc_label(words) is None
    except ValueError:
        return AIGC.name.encode() not in (words.xmp or b"")


def make_label(options: LabelOptions | None, ctx: hg.Context) -> Label:
    """The factory.

    Raises:
        ConfigError: The words cannot be drawn.
    """
    options = options or LabelOptions()
    if options.visible:
        try:
            VisibleLabel(text=options.visible, font=options.font).check()
        except ValueError as error:
            raise ConfigError(f"label: visible: {error}") from error
    return Label(options, hg.__version__, ctx)


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    """Register the processor."""
    register(
        "label",
        make_label,
        options=LabelOptions,
        summary="Says in the file that a program made the picture, and how.",
    )
