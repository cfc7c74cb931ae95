"""The old import path of the client that makes one picture at a time."""

from __future__ import annotations

from holodeck_gen_providers.hunyuan.legacy import HunyuanImageClient

__all__ = ["HunyuanImageClient"]
