"""A landscape put together: sky, land, water, then what stands in front."""

from __future__ import annotations

import attrs
import numpy as np

from ._canvas import spread
from ._clouds import paint_heaps, paint_layer
from ._flowers import paint_fallen
from ._land import far_edge, land
from ._landmarks import paint_eruption, paint_waterfall
from ._lights import paint_lights
from ._motifs import paint_motifs
from ._noise import Field, smoothstep
from ._palette import mixed
from ._plants import paint_plants
from ._scene import WATER, Scene
from ._sky import horizon_haze, paint_milky_way, paint_moon, paint_sky, paint_stars, paint_sun
from ._space import paint_nebula, paint_planet
from ._terrain import View, lit, project, shadow, view
from ._water import paint_water
from ._weather import paint_weather


def paint_landscape(scene: Scene) -> Field:
    """A canvas 3×H×W."""
    canvas = paint_sky(scene)
    paint_heavens(scene, canvas)
    horizon_haze(scene, canvas, amount=0.45)
    _paint_land(scene, canvas)
    if scene.has("waterfall"):
        paint_waterfall(scene, canvas)
    paint_plants(scene, canvas)
    paint_motifs(scene, canvas)
    if scene.has("blossom") or (scene.has("autumn") and not scene.has("sea", "desert")):
        paint_fallen(scene, canvas)
    paint_weather(scene, canvas)
    return canvas


def paint_heavens(scene: Scene, canvas: Field) -> None:
    """Everything in the sky."""
    night = scene.light.darkness > 0.8
    overcast = scene.has("storm", "rain", "snow", "fog")
    if scene.has("stars") or (night and not overcast):
        paint_stars(scene, canvas, density=2.2 if scene.has("stars") else 1.0, bottom=0.7)
    if scene.has("stars", "galaxy"):
        paint_milky_way(scene, canvas)
    if scene.has("nebula", "space"):
        paint_nebula(scene, canvas, strength=0.35)
    if scene.has("planet"):
        far = scene.width - scene.sun[0]
        paint_planet(scene, canvas, far, scene.horizon * 0.42, scene.unit * 0.15, part="planet")
    if scene.has("moon") or (
        night and not scene.has("aurora", "stars", "galaxy", "neon", "planet")
    ):
        paint_moon(scene, canvas)
    elif not night and (scene.has("sun") or not overcast):
        paint_sun(scene, canvas)
    rng = scene.rng("cloud amount")
    amount = 0.85 if scene.has("storm", "rain") else float(rng.uniform(0.18, 0.45))
    if not scene.has("minimal", "aurora"):
        paint_layer(scene, canvas, amount=0.6 if scene.has("clouds") else amount)
    if scene.has("clouds"):
        paint_heaps(scene, canvas)
    paint_lights(scene, canvas)


def paint_background(scene: Scene, canvas: Field) -> None:
    """Mountains or other land far behind a city, when it is asked for."""
    if scene.has("mountains", "volcano", "desert", "canyon"):
        dry = attrs.evolve(scene, keywords=scene.keywords - WATER)
        _paint_land(dry, canvas)


def _paint_land(scene: Scene, canvas: Field) -> None:
    seen = view(scene.width, scene.height, scene.horizon, unit=scene.unit, far=far_edge())
    height, albedo = land(scene, seen)
    wet = scene.has(*WATER)
    water = smoothstep(0.01, -0.02, height) if wet else np.zeros_like(height)
    height = np.maximum(height, 0.0) if wet else height
    color = _shaded(scene, seen, height, albedo)
    drawn, top = project(seen, height, np.concatenate([color, water[None]]))
    if drawn.shape[1] == 0:
        return
    *planes, mask, opacity = drawn
    part = canvas[:, top:]
    part *= 1.0 - opacity
    part += np.stack(planes)
    if scene.has("volcano"):
        paint_eruption(scene, seen, canvas)
    if wet:
        shore = int(min(max(scene.horizon, top), scene.height - 1))
        paint_water(
            scene,
            canvas,
            shore=shore,
            rough=_roughness(scene),
            mask=np.clip(mask[shore - top :], 0.0, 1.0),
        )


def _roughness(scene: Scene) -> float:
    if scene.has("storm"):
        return 1.0
    return 0.5 if scene.has("sea", "beach", "island") else 0.16


def _shaded(scene: Scene, seen: View, height: Field, albedo: Field) -> Field:
    """Colors 3×D×W of land under the light of the hour, seen through air."""
    side = -1.0 if scene.sun[0] < scene.width / 2 else 1.0
    low = scene.light.elevation < 0.3
    bright = lit(seen, height, side=side, climb=0.45 if low else 0.9)
    bright *= 0.25 + 0.75 * shadow(seen, height, side=side, climb=0.35 if low else 0.8, soft=0.25)
    depth = seen.depth
    if scene.has("minimal"):
        # Flat paper cuts: no relief, and air that thickens in steps.
        bright = np.full_like(bright, 0.5)
        albedo = np.full_like(albedo, 0.42)
        depth = np.exp2(np.round(np.log2(depth) * 2.0) / 2.0)
    # Moonlight is too dim for the eye to see color by.
    gray = np.float32(0.55 * max(scene.light.darkness - 0.5, 0.0) / 0.5)
    albedo = albedo + (albedo.mean(axis=0, keepdims=True) - albedo) * gray
    power = (1.25 - 0.95 * scene.light.darkness) * (0.5 if scene.has("storm", "rain") else 1.0)
    ambient = mixed(scene.light.shade, scene.light.sky[2], 0.35) * (1.0 - 0.2 * power)
    light = spread(ambient) + spread(scene.light.sun * power) * bright
    color = albedo * light
    thick = 12.0 if scene.has("fog") else 42.0
    veil = 1.0 - np.exp(-((depth / thick) ** 1.3))
    low_mist = np.exp(-np.maximum(height, 0.0) / 1.2) * smoothstep(8.0, 30.0, depth) * 0.4
    veil = (veil if scene.has("minimal") else np.maximum(veil, low_mist)) * 0.9
    color += (spread(scene.light.haze) - color) * veil.astype(np.float32)
    return color.astype(np.float32)
