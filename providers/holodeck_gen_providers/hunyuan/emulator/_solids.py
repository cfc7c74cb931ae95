"""3D files of one tetrahedron, in a color of its own for each seed."""

from __future__ import annotations

import json
import random
import struct

_VERTICES = ((1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, -1.0, -1.0))
_FACES = ((0, 1, 3), (0, 2, 1), (0, 3, 2), (1, 2, 3))

#: Extensions that `solid` knows.
FORMATS = ("glb", "obj", "stl")


def solid(extension: str, seed: int) -> bytes:
    """The bytes of a file.

    Args:
        extension: One of `FORMATS`.
        seed: Decides the color and, where a format has no color, the size.
    """
    chance = random.Random(seed)
    color = [round(chance.uniform(0.2, 1.0), 3) for _ in range(3)]
    match extension:
        case "obj":
            return _obj(color)
        case "stl":
            return _stl(color)
        case _:
            return _glb(color)


def _glb(color: list[float]) -> bytes:
    # https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#binary-gltf-layout
    points = b"".join(struct.pack("<3f", *vertex) for vertex in _VERTICES)
    corners = b"".join(struct.pack("<3H", *face) for face in _FACES)
    binary = points + corners
    scene = {
        "asset": {"version": "2.0", "generator": "holodeck-gen emulator"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [*color, 1.0]}}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(points), "target": 34962},
            {
                "buffer": 0,
                "byteOffset": len(points),
                "byteLength": len(corners),
                "target": 34963,
            },
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": len(_VERTICES),
                "type": "VEC3",
                "min": [-1.0, -1.0, -1.0],
                "max": [1.0, 1.0, 1.0],
            },
            {
                "bufferView": 1,
                "componentType": 5123,
                "count": 3 * len(_FACES),
                "type": "SCALAR",
            },
        ],
    }
    text = _padded(json.dumps(scene, separators=(",", ":")).encode(), b" ")
    data = _padded(binary, b"\0")
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _padded(data: bytes, fill: bytes) -> bytes:
    return data + fill * (-len(data) % 4)


def _obj(color: list[float]) -> bytes:
    lines = [f"v {x} {y} {z} {' '.join(map(str, color))}" for x, y, z in _VERTICES]
    lines += ["f " + " ".join(str(corner + 1) for corner in face) for face in _FACES]
    return ("\n".join(lines) + "\n").encode()


def _stl(color: list[float]) -> bytes:
    scale = color[0]
    data = b"tetrahedron".ljust(80, b" ") + struct.pack("<I", len(_FACES))
    for face in _FACES:
        data += struct.pack("<3f", 0.0, 0.0, 0.0)
        for corner in face:
            data += struct.pack("<3f", *(scale * part for part in _VERTICES[corner]))
        data += struct.pack("<H", 0)
    return data
