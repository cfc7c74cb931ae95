"""The old import path of the Hunyuan client.

.. deprecated:: 0.1.0
    Use `holodeck_gen`; see ``docs/how-to/migrate-from-holodeck-core.md``.
"""

from __future__ import annotations

from holodeck_gen_providers.hunyuan.legacy import (
    GenerationResult,
    GenerationTask,
    HunyuanImageClient,
    HunyuanImageClientOptimized,
    create_optimized_client_from_env,
    generate_batch_images,
)

__all__ = [
    "GenerationResult",
    "GenerationTask",
    "HunyuanImageClient",
    "HunyuanImageClientOptimized",
    "create_optimized_client_from_env",
    "generate_batch_images",
]
