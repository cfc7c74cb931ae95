"""What does a procedural picture cost?

Run: ``python tests/benchmarks/bench_draw.py [SIDE]``; CPU time, all threads, with PNG encoding.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time

import holodeck_gen as hg

PICTURES = 3
SCENES = {
    "landscape": "misty mountains, lake, pine forest, dawn",
    "sea": "sea at sunset, lighthouse, birds",
    "city": "city skyline at night, rain",
    "street": "cyberpunk street, neon, rain",
    "space": "nebula, planet, stars",
    "ink": "水墨 山 船 雾",
    "underwater": "underwater, coral, fish",
    "desert": "desert dunes under stars",
    "abstract": "nothing that is known",
}


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    lines = [
        f"{side}x{side}, median of {PICTURES} after the first",
        f"{'scene':<14}{'CPU s':>8}{'wall s':>8}{'first CPU s':>13}{'ratio':>8}",
    ]
    found: dict[str, tuple[float, float, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        hg.Studio("procedural", output=folder, config=hg.Config.of({})) as studio,
    ):
        for scene, prompt in SCENES.items():
            cpu: list[float] = []
            wall: list[float] = []
            for seed in range(PICTURES + 1):
                began, used = time.perf_counter(), time.process_time()
                studio.generate(prompt, size=(side, side), seed=seed)
                wall.append(time.perf_counter() - began)
                cpu.append(time.process_time() - used)
            found[scene] = (statistics.median(cpu[1:]), statistics.median(wall[1:]), cpu[0])
    least = min(cpu for cpu, _, _ in found.values())
    for scene, (used, waited, first) in found.items():
        lines.append(f"{scene:<14}{used:8.2f}{waited:8.2f}{first:13.2f}{used / least:8.1f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
