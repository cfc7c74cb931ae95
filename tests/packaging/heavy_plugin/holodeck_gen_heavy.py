"""A plugin whose import takes long; it tells a test that it happened."""

import os
from pathlib import Path

Path(os.environ["HEAVY_PLUGIN_IMPORTED"]).touch()
