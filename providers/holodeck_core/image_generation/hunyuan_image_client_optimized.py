"""The old import path of the client that makes several pictures at once."""

from __future__ import annotations

from holodeck_gen_providers.hunyuan.legacy import (
    GenerationResult,
    GenerationTask,
    HunyuanImageClientOptimized,
    create_optimized_client_from_env,
    generate_batch_images,
)

__all__ = [
    "GenerationResult",
    "GenerationTask",
    "HunyuanImageClientOptimized",
    "create_optimized_client_from_env",
    "generate_batch_images",
]
