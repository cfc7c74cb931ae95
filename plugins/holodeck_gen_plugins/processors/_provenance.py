"""What a label says, in the words of those who defined it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TypeAlias

from holodeck_gen_plugins.processors._xmp import Property, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import holodeck_gen as hg
    from holodeck_gen_plugins.processors._metadata import Metadata

#: The terms of IPTC's vocabulary that concern what a program made: by a trained model, with one
#: and other sources, or by an algorithm that learnt nothing.
MadeBy: TypeAlias = Literal[
    "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia"
]
#: Likewise, and ours for saying nothing.
SourceType: TypeAlias = Literal[MadeBy, "none"]
#: IPTC Photo Metadata Standard 2023.1, "Digital Source Type".
SOURCE_TYPE = Property(
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "Iptc4xmpExt", "DigitalSourceType"
)
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
#: GB 45438-2025, the implicit label: in XMP, in a text of a PNG file, or in Exif's comment.
AIGC = Property("http://www.tc260.org.cn/ns/AIGC/1.0/", "TC260", "AIGC")
AIGC_TEXT = "AIGC"
#: The text in which web interfaces for Stable Diffusion keep how a picture was made.
PARAMETERS = "parameters"
#: Characters after which those interfaces need a value to be in quotes.
_QUOTED = frozenset(',:\n"')
#: Bytes of Exif in which a label is looked for; in a JPEG file there are no more.
_MAX_EXIF = 1 << 16


def aigc_label(metadata: Metadata) -> str | None:
    """The implicit label that a picture has, as its JSON, wherever it is.

    Raises:
        ValueError: Its XMP is damaged.
    """
    if found := metadata.texts.get(AIGC_TEXT):
        return found
    exif = (metadata.exif or b"")[:_MAX_EXIF]
    for encoding in ("utf-8", "utf-16-be", "utf-16-le"):
        if (at := exif.find('"ContentProducer"'.encode(encoding))) >= 0:
            # A comment begins at any byte, so characters of two bytes may begin at odd ones.
            return _json_in(exif[at % 2 :].decode(encoding, "replace"))
    return value_of(metadata.xmp, AIGC)


def new_aigc_label(producer: str, produce_id: str) -> str:
    """The JSON of a label that says: certainly made by a model, not yet passed on by anybody."""
    label = {
        "Label": "1",
        "ContentProducer": producer,
        "ProduceID": produce_id,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(label, ensure_ascii=False, separators=(",", ":"))


def parameters(task: hg.Task, size: tuple[int, int], version: str) -> str:
    """How a picture was made, as web interfaces for Stable Diffusion write and read it.

    Only what is known: nothing of steps or samplers. Readers want at least three pairs in the
    last line.
    """
    lines = [task.prompt]
    if task.negative_prompt:
        lines.append(f"Negative prompt: {task.negative_prompt}")
    pairs: dict[str, object] = {"Size": f"{size[0]}x{size[1]}"}
    # Which of several pictures this is, and so its seed, a processor is not told.
    if task.seed is not None and task.n == 1:
        pairs["Seed"] = task.seed
    if task.model:
        pairs["Model"] = task.model
    pairs |= {"Batch size": task.n, "Version": f"holodeck-gen {version}"}
    return "\n".join([*lines, _joined(pairs)])


def _joined(pairs: Mapping[str, object]) -> str:
    return ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if _QUOTED & set(value) else value


def _json_in(text: str) -> str:
    """The first JSON object in `text` that is a label, or all of it."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("{", at + 1)
            continue
        except RecursionError:
            # Made to cost time; each brace in it would be tried anew.
            return text
        inner = value.get("AIGC", value) if isinstance(value, dict) else value
        if isinstance(inner, dict) and "ContentProducer" in inner:
            return text[at:end] if inner is value else json.dumps(inner, ensure_ascii=False)
        at = text.find("{", end)
    return text
