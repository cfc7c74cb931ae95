from __future__ import annotations

import asyncio

import holodeck_gen as hg
from holodeck_gen.testing import ProviderContract
from holodeck_gen_providers.procedural import ProceduralOptions
from holodeck_gen_providers.procedural._provider import ProceduralProvider


class TestProceduralAtOnce(ProviderContract):
    options = ProceduralOptions()

    def make_provider(self) -> hg.Provider:
        return ProceduralProvider(options=self.options, wall_clock=asyncio.get_running_loop().time)

    def bad_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a", kind="model3d"),
            hg.Task("a", size="15x15"),
            hg.Task("a", size="5000x16"),
            hg.Task("a", model="other"),
            hg.Task("a", inputs=["a.png"]),
            hg.Task("a", provider_options={"steps": 3}),
        ]


class TestProceduralWithJobs(TestProceduralAtOnce):
    options = ProceduralOptions(job_s=30.0)
