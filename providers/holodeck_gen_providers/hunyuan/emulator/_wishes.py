"""From checked parameters to what a job makes, and what moderation says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holodeck_gen_providers.hunyuan.emulator._checks import read_size
from holodeck_gen_providers.hunyuan.emulator._jobs import Wish
from holodeck_gen_providers.hunyuan.emulator._references import instruction
from holodeck_gen_providers.hunyuan.emulator._solids import FORMATS
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from holodeck_gen_providers.hunyuan._tables import Model
    from holodeck_gen_providers.hunyuan.emulator._interfaces import Interface
    from holodeck_gen_providers.hunyuan.emulator._settings import Settings

#: Where no size is given: https://cloud.tencent.com/document/product/1729 and /1668.
_DEFAULT_SIZE = (1024, 1024)
_DEFAULT_SIZES = {("hunyuan", "TextToImageLite"): (768, 768)}

#: What the answer's own form is called; base64 unless told otherwise, and only where asked.
_ANSWER_FIELDS = ("RspImgType", "rsp_img_type")

#: What the rewriting adds; the real one writes a paragraph.
_REVISION = ", in soft light, rich in detail"


def read_wish(
    interface: Interface, model: Model, parameters: Mapping[str, Any], chance: Random
) -> Wish:
    """Read parameters that `check_parameters` found good.

    Args:
        interface: How they came.
        model: The row that they name.
        parameters: As JSON.
        chance: For the seed, where none is given or none has effect.

    Raises:
        RefusedError: The emulator cannot make the format asked for.
    """
    fields = model.fields
    prompt = parameters.get(fields.get("prompt", "")) or ""
    if model.references is not None and model.references.form == "messages":
        prompt = instruction(parameters)
    size = read_size(model, parameters) or _DEFAULT_SIZES.get(
        (interface.dialect.name, interface.name), _DEFAULT_SIZE
    )
    enlarged = {"x2": 2, "x4": 4}.get(parameters.get("Clarity") or "", 1)
    rewrite = _rewrites(model, parameters)
    seed = parameters.get(fields.get("seed", "")) or 0
    drawn = chance.getrandbits(31)
    return Wish(
        prompt=prompt,
        count=parameters.get(fields.get("n", "")) or 1,
        width=size[0] * enlarged,
        height=size[1] * enlarged,
        # The rewriting changes the prompt each time, so that a seed repeats nothing.
        seed=drawn if rewrite or seed <= 0 else seed,
        style=parameters.get(fields.get("style", "")),
        avoid=parameters.get(fields.get("negative_prompt", "")),
        rewrite=rewrite,
        format=_format(interface, parameters),
        inline=_inline(model, parameters),
    )


def revised(wish: Wish) -> str:
    """The prompt that the service says it used."""
    return wish.prompt + _REVISION if wish.rewrite else wish.prompt


def refuse_words(settings: Settings, wish: Wish) -> None:
    """What moderation says of the prompt, before there is a job.

    Raises:
        RefusedError: It has one of the refused words.
    """
    if any(word in wish.prompt for word in settings.refused_words):
        raise RefusedError(
            "OperationDenied.TextIllegalDetected", "The text may contain sensitive content."
        )


def rejection(settings: Settings, wish: Wish) -> str | None:
    """The code with which moderation ends the job, if it does."""
    if any(word in wish.prompt for word in settings.rejected_words):
        return "FailedOperation.GenerateImageFailed"
    return None


def _rewrites(model: Model, parameters: Mapping[str, Any]) -> bool:
    option = model.options.get("revise")
    if option is None:
        return model.rewrites
    references = model.references
    if references and references.forces_rewrite and parameters.get(references.field):
        return True
    told = parameters.get(option.field)
    return model.rewrites if told is None else bool(told)


def _inline(model: Model, parameters: Mapping[str, Any]) -> bool:
    for name in _ANSWER_FIELDS:
        if name in model.constants:
            return parameters.get(name) != "url"
    return False


def _format(interface: Interface, parameters: Mapping[str, Any]) -> str:
    if interface.dialect.kind != "model3d":
        return "png"
    wanted = (parameters.get("ResultFormat") or "GLB").lower()
    if wanted not in FORMATS:
        raise RefusedError("UnsupportedOperation", f"The emulator makes no {wanted.upper()}.")
    return str(wanted)
