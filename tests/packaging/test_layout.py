"""The import roots and the one direction in which they depend on each other."""

from __future__ import annotations

import ast
import graphlib
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


def room_of(module: str) -> str:
    """The folder of the core that a module of it is in; a module beside the folders is one, too."""
    return module.split(".")[1]


def test_the_folders_of_the_core_use_each_other_in_one_direction() -> None:
    uses: dict[str, set[str]] = {}
    for file in sources(CORE):
        room = file.relative_to(CORE).parts[0].removesuffix(".py")
        for module in imported_at_run_time(file):
            if module.startswith("holodeck_gen.") and room_of(module) != room:
                uses.setdefault(room, set()).add(room_of(module))
    order = list(graphlib.TopologicalSorter(uses).static_order())
    assert order.index("_model") < order.index("_journal") < order.index("_engine")


def imported_at_run_time(file: Path) -> Iterator[str]:
    """Modules that a file imports, but not those that only a type checker reads."""
    waiting: list[ast.AST] = [ast.parse(file.read_bytes())]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                waiting += node.orelse
            case ast.ImportFrom(module=str(module), names=names):
                # ``from holodeck_gen import _log`` names a module, ``from holodeck_gen._log`` too.
                own = module == "holodeck_gen"
                yield from (f"{module}.{each.name}" for each in names) if own else [module]
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case _:
                waiting += ast.iter_child_nodes(node)
