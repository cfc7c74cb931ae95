"""The import roots and the one direction in which they depend on each other."""

from __future__ import annotations

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "holodeck_gen"
ROOTS = {
    "holodeck_gen_providers": ROOT / "providers" / "holodeck_gen_providers",
    "holodeck_gen_plugins": ROOT / "plugins" / "holodeck_gen_plugins",
}
_BUILT_IN = re.compile(r"(holodeck_gen_(providers|plugins)|holodeck_core)\b")


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def named_modules(file: Path) -> Iterator[str]:
    """Modules that a file imports, and texts in which it could name one for a later import."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case ast.Constant(value=str(text)):
                yield text


def modules_with_hooks() -> set[str]:
    found = set()
    for root in ROOTS.values():
        for file in sources(root):
            if "hookimpl" in file.read_text(encoding="utf-8"):
                parts = file.relative_to(root.parent).with_suffix("").parts
                found.add(".".join(parts).removesuffix(".__init__"))
    return found


def test_core_knows_no_provider_and_no_plugin() -> None:
    known = {
        str(file.relative_to(CORE)): name
        for file in sources(CORE)
        for name in named_modules(file)
        if _BUILT_IN.match(name)
    }
    assert known == {}


def test_every_built_in_is_reached_by_its_entry_point() -> None:
    entries = entry_points(group="holodeck_gen")
    ours = {each.value for each in entries if each.dist and each.dist.name == "holodeck-gen"}
    assert ours == modules_with_hooks()


def test_every_provider_registers_itself() -> None:
    folders = {
        f"holodeck_gen_providers.{folder.name}"
        for folder in ROOTS["holodeck_gen_providers"].iterdir()
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert folders
    assert folders <= modules_with_hooks()


@pytest.mark.parametrize("root", [CORE, *ROOTS.values()], ids=lambda root: root.name)
def test_every_root_is_typed(root: Path) -> None:
    assert (root / "py.typed").is_file()


def test_legacy_path_stays_a_namespace() -> None:
    """Users may own a package ``holodeck_core``; ours must not hide it."""
    assert not (ROOT / "providers" / "holodeck_core" / "__init__.py").exists()
