"""The entry of the drawing engine: a prompt in, a picture out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import attrs
from PIL import Image

from ._abstract import paint_abstract
from ._city import paint_skyline
from ._finish import finish
from ._ink import paint_ink
from ._keywords import match
from ._landscape import paint_landscape
from ._motifs import paint_motifs
from ._scene import COSMOS, GROUND, Scene, plan
from ._space import paint_space
from ._street import paint_street
from ._underwater import paint_underwater
from ._weather import paint_weather

if TYPE_CHECKING:
    from ._noise import Field


_MAX_PIXELS: Final = 2048 * 2048


@attrs.frozen(kw_only=True)
class Drawing:
    """A picture and what of its prompt was understood.

    Attributes:
        image: RGB, of the size asked for.
        matched: canonical keywords found in the prompt, in order of appearance; empty when
            nothing was known and the picture is an abstract one.
    """

    image: Image.Image
    matched: tuple[str, ...]


def draw(
    prompt: str,
    *,
    width: int,
    height: int,
    seed: int,
    style: str | None = None,
    avoid: str | None = None,
) -> Drawing:
    """Draw a picture from the keywords of a prompt.

    Equal arguments give equal pictures. Safe to call from several threads.

    Args:
        prompt: any text; known words in English and Chinese decide the picture, the rest only
            varies it.
        width: pixels.
        height: pixels.
        seed: varies composition, palette and details.
        style: more words, matched like the prompt.
        avoid: words whose keywords are left out.
    """
    unwanted = frozenset(match(avoid or ""))
    matched = tuple(word for word in match(prompt) if word not in unwanted)
    styled = [word for word in match(style or "") if word not in unwanted]
    text = "\0".join((prompt, style or "", avoid or "", str(seed)))
    entropy = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16])
    image = render(frozenset([*matched, *styled]), width=width, height=height, entropy=entropy)
    return Drawing(image=image, matched=matched)


def render(keywords: frozenset[str], *, width: int, height: int, entropy: int) -> Image.Image:
    """Draw a set of canonical keywords; `entropy` decides everything they leave open.

    Above 4 megapixels the picture is drawn at 4 and enlarged, which bounds time and memory.
    """
    shrink = max((width * height / _MAX_PIXELS) ** 0.5, 1.0)
    drawn_w, drawn_h = max(round(width / shrink), 1), max(round(height / shrink), 1)
    scene = plan(keywords, width=drawn_w, height=drawn_h, entropy=entropy)
    image = finish(scene, _paint(scene))
    return image if shrink == 1.0 else image.resize((width, height), Image.Resampling.LANCZOS)


def _paint(scene: Scene) -> Field:
    """The canvas 3×H×W of the kind of picture that fits the keywords."""
    if scene.has("ink"):
        return paint_ink(scene)
    if not scene.keywords or scene.has("abstract"):
        return paint_abstract(scene)
    if scene.has("underwater") or (scene.has("fish") and not scene.has(*GROUND)):
        return paint_underwater(scene)
    if scene.has("city", "neon", "cyberpunk"):
        street = scene.has("cyberpunk") and not scene.has(*GROUND)
        canvas = paint_street(scene) if street else paint_skyline(scene)
    elif scene.has(*COSMOS) and not scene.has(*GROUND):
        canvas = paint_space(scene)
    else:
        return paint_landscape(scene)
    paint_motifs(scene, canvas)
    paint_weather(scene, canvas)
    return canvas
