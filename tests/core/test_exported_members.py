"""The one import path that users need is complete, sorted and cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import holodeck_gen as hg


def test_names_are_sorted_and_every_one_resolves() -> None:
    assert hg.__all__ == sorted(hg.__all__)
    for name in hg.__all__:
        assert getattr(hg, name) is not None


def test_the_lazy_table_and_the_types_name_the_same() -> None:
    lazy = {name for names in hg._MODULES.values() for name in names}
    tree = ast.parse(Path(hg.__file__).read_text())
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("holodeck_gen.")
        for alias in node.names
    }
    assert set(hg.__all__) == lazy == typed


def test_dir_lists_what_can_be_had() -> None:
    for name in dir(hg):
        assert hasattr(hg, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(hg, "no_such_name")


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, holodeck_gen; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert not loaded & {"httpx", "aiohttp", "PIL", "numpy", "rich", "structlog", "click"}
