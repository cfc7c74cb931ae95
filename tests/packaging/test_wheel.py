"""What is built is what was meant, and works away from the checkout and from git."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import SITE, Environment

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "holodeck_gen": ROOT / "core",
    "holodeck_gen_providers": ROOT / "providers",
    "holodeck_gen_plugins": ROOT / "plugins",
    "holodeck_core": ROOT / "providers",
}


def packaged() -> set[str]:
    """Every file of the import roots, as a wheel names it."""
    return {
        file.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for file in (root / package).rglob("*")
        if file.is_file() and file.suffix in (".py", ".typed")
    }


def test_wheel_has_every_file_of_every_root(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == packaged()


def test_sdist_has_what_a_packager_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "examples/prompts.jsonl"}
    assert needed <= names
    assert {f"tests/packaging/{Path(__file__).name}", "tests/environments.py"} <= names


def test_wheel_generates_outside_the_checkout(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    environment = Environment.make(tmp_path_factory.mktemp("wheel"))
    environment.install(wheel)
    environment.borrow(SITE)
    where = "import holodeck_gen, pathlib; print(pathlib.Path(holodeck_gen.__file__).parent)"
    imported = environment.run("python", "-c", where, cwd=tmp_path).strip()
    assert Path(imported).is_relative_to(environment.folder)
    command = ("holodeck-gen", "generate", "a lake at dawn", "-p", "procedural", "--size", "64x64")
    environment.run(*command, "-o", "lake.png", cwd=tmp_path)
    assert (tmp_path / "lake.png").read_bytes().startswith(b"\x89PNG")
