"""Virtual environments beside the one that runs the tests; nothing is downloaded."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import attrs

#: Where the packages of the running environment are.
SITE = Path(sysconfig.get_path("purelib"))


@attrs.frozen
class Environment:
    """A virtual environment, and a home folder without configuration."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Environment:
        """Make one that has pip and nothing else."""
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        return cls(folder)

    def install(self, *sources: Path) -> None:
        """Install wheels or source trees, without their dependencies."""
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        self.run("python", "-m", "pip", "install", *options, *sources, cwd=self.folder)

    def borrow(self, site: Path) -> None:
        """Let it find packages in `site` too, after its own.

        Path files in there, such as that of an editable install, stay unread.
        """
        (own,) = (self.folder / "venv").glob("lib/python*/site-packages")
        (own / "borrowed.pth").write_text(f"{site}\n")

    def run(
        self, program: str, *arguments: str | Path, cwd: Path, expect: int = 0, **variables: str
    ) -> str:
        """Run one of its programs; what it wrote, stdout and stderr together."""
        ours = ("HOLODECK_GEN_", "PYTHON", "COV")
        outer = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        home = {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        done = subprocess.run(
            [self.folder / "venv" / "bin" / program, *arguments],
            cwd=cwd,
            env=outer | home | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stdout
        return done.stdout
