"""``holodeck_core.image_generation`` as installed, beside what users own of that name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from environments import SITE, Environment

ROOT = Path(__file__).parents[2]
OURS = "import holodeck_core.image_generation as ours; print(ours.HunyuanImageClient.__name__)"
#: What a user with a regular package of the name adds to its ``__init__.py``.
BRIDGE = (
    'from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\nMINE = "yes"\n'
)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel."""
    environment = Environment.make(tmp_path_factory.mktemp("legacy"))
    environment.install(wheel)
    environment.borrow(SITE)
    return environment


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with an editable install of a copy."""
    folder = tmp_path_factory.mktemp("editable")
    source = folder / "source"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "venv", "build", "dist", "out")
    shutil.copytree(ROOT, source, ignore=skipped)
    environment = Environment.make(folder)
    environment.run(
        *("python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
        *("--no-build-isolation", "--editable", source),
        cwd=folder,
        PYTHONPATH=str(SITE),
    )
    environment.borrow(SITE)
    return environment


def write(folder: Path, init: str | None, **modules: str) -> None:
    """A user's package ``holodeck_core`` in `folder`; a namespace where `init` is None."""
    package = folder / "holodeck_core"
    package.mkdir(parents=True)
    if init is not None:
        (package / "__init__.py").write_text(init)
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)


def test_wheel_provides_every_path(installed: Environment, tmp_path: Path) -> None:
    for module in ("", ".hunyuan_image_client", ".hunyuan_image_client_optimized"):
        strict = "import warnings; warnings.simplefilter('error')"
        code = f"{strict}\nimport holodeck_core.image_generation{module}"
        installed.run("python", "-c", code, cwd=tmp_path)


def test_import_loads_nothing_heavy(installed: Environment, tmp_path: Path) -> None:
    heavy = {"PIL", "aiohttp", "httpx", "numpy"}
    code = f"{OURS}\nimport sys\nprint(sorted({heavy} & set(sys.modules)))"
    assert installed.run("python", "-c", code, cwd=tmp_path).splitlines()[-1] == "[]"


def test_editable_install_provides_it(editable: Environment, tmp_path: Path) -> None:
    code = f"{OURS}\nprint(ours.__file__)"
    name, file = editable.run("python", "-c", code, cwd=tmp_path).split()
    assert name == "HunyuanImageClient"
    assert Path(file).is_relative_to(editable.folder / "source")


@pytest.mark.parametrize("kind", ["installed", "editable"])
class TestUsersOwnPackage:
    """Regular or namespace, in the working directory or installed: theirs works as before."""

    @pytest.fixture
    def environment(self, kind: str, request: pytest.FixtureRequest) -> Environment:
        found: Environment = request.getfixturevalue(kind)
        return found

    def test_namespace_in_the_working_directory_shares_the_name(
        self, environment: Environment, tmp_path: Path
    ) -> None:
        write(tmp_path, None, engine="MINE = 'yes'")
        code = f"from holodeck_core.engine import MINE; print(MINE)\n{OURS}"
        assert environment.run("python", "-c", code, cwd=tmp_path).split() == [
            "yes",
            "HunyuanImageClient",
        ]

    def test_regular_package_in_the_working_directory_is_theirs_alone(
        self, environment: Environment, tmp_path: Path
    ) -> None:
        write(tmp_path, "MINE = 'yes'", engine="")
        code = "import holodeck_core, holodeck_core.engine; print(holodeck_core.MINE)"
        assert environment.run("python", "-c", code, cwd=tmp_path).strip() == "yes"
        # Without the bridge ours is not to be seen, and Python says so.
        missing = environment.run("python", "-c", OURS, cwd=tmp_path, expect=1)
        assert "No module named 'holodeck_core.image_generation'" in missing
        # The library itself does not need the name.
        command = ("holodeck-gen", "generate", "a lake", "-p", "procedural", "--size", "32x32")
        environment.run(*command, "-o", "lake.png", cwd=tmp_path)

    def test_bridge_adds_ours_to_theirs(self, environment: Environment, tmp_path: Path) -> None:
        write(tmp_path, BRIDGE, engine="")
        code = f"import holodeck_core, holodeck_core.engine; print(holodeck_core.MINE)\n{OURS}"
        assert environment.run("python", "-c", code, cwd=tmp_path).split() == [
            "yes",
            "HunyuanImageClient",
        ]

    def test_their_own_image_generation_wins(
        self, environment: Environment, tmp_path: Path
    ) -> None:
        """Whoever still has the old client goes on with it, with the bridge or without."""
        for init in ("", BRIDGE):
            folder = tmp_path / ("bridged" if init else "plain")
            write(folder, init)
            own = folder / "holodeck_core" / "image_generation"
            own.mkdir()
            (own / "__init__.py").write_text("MINE = 'yes'")
            code = "from holodeck_core.image_generation import MINE; print(MINE)"
            assert environment.run("python", "-c", code, cwd=folder).strip() == "yes"


class TestTheirsInstalledToo:
    """A distribution of theirs puts ``holodeck_core`` beside ours in site-packages."""

    @pytest.fixture
    def crowded(self, wheel: Path, tmp_path: Path) -> Environment:
        environment = Environment.make(tmp_path / "crowded")
        environment.borrow(SITE)
        environment.install(wheel)
        return environment

    def theirs(self, folder: Path, init: str | None) -> Path:
        source = folder / "theirs"
        write(source, init, engine="MINE = 'yes'")
        package = "holodeck_core/engine.py" if init is None else "holodeck_core"
        (source / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "their-holodeck-core"\nversion = "1"\n'
            f'[tool.hatch.build.targets.wheel]\nonly-include = ["{package}"]\n'
        )
        return source

    @pytest.mark.parametrize("init", [None, ""], ids=["namespace", "regular"])
    def test_both_work_and_ours_goes_without_theirs(
        self, crowded: Environment, tmp_path: Path, init: str | None
    ) -> None:
        crowded.install(self.theirs(tmp_path, init))
        code = f"from holodeck_core.engine import MINE; print(MINE)\n{OURS}"
        # One folder holds both, so that even a regular package of theirs sees ours.
        expected = ["yes", "HunyuanImageClient"]
        assert crowded.run("python", "-c", code, cwd=tmp_path).split() == expected
        crowded.run("python", "-m", "pip", "uninstall", "-q", "-y", "holodeck-gen", cwd=tmp_path)
        code = "from holodeck_core.engine import MINE; print(MINE)"
        assert crowded.run("python", "-c", code, cwd=tmp_path).strip() == "yes"
        (site,) = (crowded.folder / "venv").glob("lib/python*/site-packages")
        assert not (site / "holodeck_core" / "image_generation").exists()
