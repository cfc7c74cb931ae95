from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._config.config import Config
from holodeck_gen._config.sources import path_of_key, value_of_text
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-7f3a"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, with an empty user folder beside it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    project = tmp_path / "project"
    project.mkdir()
    return project


def load(project: Path, given: dict[str, object] | None = None, /, **environ: str) -> Config:
    return Config.load(given or {}, cwd=project, environ=environ)


def write_user_file(project: Path, text: str) -> None:
    folder = project.parent / "user" / "holodeck-gen"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)


class TestLayers:
    def test_nothing_is_configured(self, project: Path) -> None:
        config = load(project)
        assert config.get("provider") is None
        assert config.get("attempts", 4) == 4
        assert config.settings() == []
        assert config.provider_options("any") == ("any", {})

    def test_each_layer_hides_the_next(self, project: Path) -> None:
        write_user_file(project, 'provider = "user"\nattempts = 9')
        assert load(project).get("provider") == "user"
        (project / "pyproject.toml").write_text('[tool.holodeck-gen]\nprovider = "pyproject"')
        assert load(project).get("provider") == "pyproject"
        (project / "holodeck-gen.toml").write_text('provider = "own"')
        assert load(project).get("provider") == "own"
        (project / ".env").write_text("HOLODECK_GEN_PROVIDER=dotenv")
        assert load(project).get("provider") == "dotenv"
        assert load(project, HOLODECK_GEN_PROVIDER="variable").get("provider") == "variable"
        config = load(project, {"provider": "given"}, HOLODECK_GEN_PROVIDER="variable")
        assert config.get("provider") == "given"
        assert config.get("attempts") == 9

    def test_origins_are_told(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text('provider = "own"\nattempts = 2')
        settings = load(project, {"attempts": 3}, HOLODECK_GEN_NAME="{id}").settings()
        assert [(s.key, s.value, s.origin) for s in settings] == [
            ("attempts", 3, "command line"),
            ("name", "{id}", "variable HOLODECK_GEN_NAME"),
            ("provider", "own", str(project / "holodeck-gen.toml")),
        ]

    def test_nearest_file_upward_applies(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text("attempts = 2")
        inner = project / "a" / "b"
        inner.mkdir(parents=True)
        assert load(inner).get("attempts") == 2
        (inner.parent / "holodeck-gen.toml").write_text("attempts = 3")
        assert load(inner).get("attempts") == 3

    def test_a_nearer_pyproject_without_our_table_ends_the_search(self, project: Path) -> None:
        (project / "pyproject.toml").write_text("[tool.holodeck-gen]\nattempts = 2")
        inner = project / "inner"
        inner.mkdir()
        (inner / "pyproject.toml").write_text("[tool.other]\nx = 1")
        assert load(inner).get("attempts") is None

    def test_options_of_one_provider_come_from_several_layers(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text(
            '[providers.my-one]\nuse = "hunyuan"\nregion = "a"\ndialect = "b"\n'
            "[providers.my-one.retry]\nmost = 3\nleast = 1\n"
        )
        config = load(
            project,
            {"providers": {"my-one": {"retry": {"most": 4}}}},
            HOLODECK_GEN_PROVIDERS__MY_ONE__DIALECT="c",
        )
        assert config.provider_options("my-one") == (
            "hunyuan",
            {"region": "a", "dialect": "c", "retry": {"most": 4, "least": 1}},
        )

    def test_a_stronger_value_replaces_a_weaker_table_as_a_whole(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text("[stages.x.retry]\nmost = 3\n")
        config = load(project, {"stages": {"x": {"retry": "never"}}})
        assert config.stage_options("x") == ("x", {"retry": "never"})

    def test_none_is_not_given(self, project: Path) -> None:
        assert load(project, {"provider": None}, HOLODECK_GEN_PROVIDER="x").get("provider") == "x"

    def test_empty_variables_are_not_given(self, project: Path) -> None:
        assert load(project, HOLODECK_GEN_PROVIDER="").get("provider") is None

    def test_plugins_variable_is_no_setting(self, project: Path) -> None:
        assert load(project, HOLODECK_GEN_PLUGINS="a,b").settings() == []

    def test_of_discovers_nothing(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (project / "holodeck-gen.toml").write_text("attempts = 2")
        monkeypatch.chdir(project)
        monkeypatch.setenv("HOLODECK_GEN_ATTEMPTS", "3")
        assert Config.of({}).settings() == []
        assert Config.load().get("attempts") == 3


class TestDotenv:
    def test_it_is_below_the_environment_and_not_written_into_it(self, project: Path) -> None:
        (project / ".env").write_text("A=file\nB=file\nEMPTY\n")
        config = load(project, A="outer")
        assert config.environ["A"] == "outer"
        assert config.environ["B"] == "file"
        assert "B" not in os.environ

    def test_three_folders_up_and_no_further(self, project: Path) -> None:
        (project / ".env").write_text("A=1")
        near, far = project / "1" / "2" / "3", project / "1" / "2" / "3" / "4"
        far.mkdir(parents=True)
        assert load(near).environ.get("A") == "1"
        assert load(far).environ.get("A") is None

    def test_a_folder_of_that_name_is_passed_over(self, project: Path) -> None:
        (project / ".env").mkdir()
        assert dict(load(project).environ) == {}

    def test_not_utf8(self, project: Path) -> None:
        (project / ".env").write_bytes(b"A=\xff\xfe")
        with pytest.raises(ConfigError, match=r"\.env cannot be read"):
            load(project)


class TestValues:
    @pytest.mark.parametrize(
        ("key", "text", "value"),
        [
            ("concurrency", "4", 4),
            ("concurrency", "auto", "auto"),
            ("concurrency", "2-8", "2-8"),
            ("rewrite", "a, b", ("a", "b")),
            ("process", '["a"]', ("a",)),
            ("provider", "a,b", ("a", "b")),
            ("attempts", "3", 3),
            ("backoff_s", "0.5", 0.5),
            ("job_timeout_s", "60", 60.0),
            ("outage_s", "60", 60.0),
            ("probe", "true", True),
            ("on_uncertain", "resubmit", "resubmit"),
            ("journal", "none", "none"),
            ("output", "s3://bucket/x", "s3://bucket/x"),
        ],
    )
    def test_text_becomes_what_it_is(
        self, project: Path, key: str, text: str, value: object
    ) -> None:
        config = Config.load(cwd=project, environ={f"HOLODECK_GEN_{key.upper()}": text})
        assert config.get(key) == value

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("provider", 3),
            ("provider", []),
            ("provider", " "),
            ("concurrency", 0),
            ("concurrency", "8-2"),
            ("concurrency", True),
            ("concurrency", "many"),
            ("rewrite", 1),
            ("expand", ["a", 2]),
            ("on_uncertain", "pay"),
            ("journal", ""),
            ("resume", "perhaps"),
            ("network_journal", 2),
            ("attempts", 0),
            ("attempts", True),
            ("attempts", 1.5),
            ("backoff_s", "soon"),
            ("backoff_s", float("inf")),
            ("backoff_s", -1),
            ("backoff_s", True),
            ("job_timeout_s", 0),
            ("output", ""),
            ("name", 7),
        ],
    )
    def test_what_cannot_be_is_refused_with_its_origin(self, key: str, value: object) -> None:
        with pytest.raises(ConfigError, match=f"^given: {key} must be"):
            Config.of({key: value})

    def test_a_projects_output_is_relative_to_its_file(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text('output = "out"')
        inner = project / "inner"
        inner.mkdir()
        assert load(inner).get("output") == str(project / "out")
        assert load(inner, {"output": "mine"}).get("output") == "mine"

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("aiart", "aiart"),
            ("123", "123"),
            ("true", "true"),
            ('["a", 1]', ["a", 1]),
            ('{"a": 1}', {"a": 1}),
            ('"quoted"', "quoted"),
            ("[not json", "[not json"),
        ],
    )
    def test_text_of_a_command_line(self, text: str, value: object) -> None:
        assert value_of_text(text) == value

    def test_keys_may_be_quoted(self) -> None:
        assert path_of_key("providers.hunyuan.dialect") == ["providers", "hunyuan", "dialect"]
        assert path_of_key('providers."a.b".x') == ["providers", "a.b", "x"]

    @pytest.mark.parametrize(
        "key", ["", ".", "a..b", "a b", "a = 1\nb", "[a]", "a = 0 #", '""', "#"]
    )
    def test_what_is_no_key(self, key: str) -> None:
        with pytest.raises(ConfigError, match="is not a key"):
            path_of_key(key)

    @given(st.text(max_size=20))
    def test_any_key_is_parts_or_an_error(self, key: str) -> None:
        with contextlib.suppress(ConfigError):
            assert all(path_of_key(key))


class TestMistakes:
    def test_unknown_setting_names_the_nearest_and_the_file(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text("concurency = 3")
        with pytest.raises(ConfigError, match=r"holodeck-gen\.toml.*'concurency'.*'concurrency'"):
            load(project)

    def test_unknown_variable(self, project: Path) -> None:
        with pytest.raises(ConfigError, match="variable HOLODECK_GEN_PROVIDR"):
            load(project, HOLODECK_GEN_PROVIDR="x")

    @pytest.mark.parametrize(
        "values", [{"providers": "x"}, {"providers": {"x": "y"}}, {"stages": [1]}]
    )
    def test_tables_must_be_tables(self, values: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=r"table|write"):
            Config.of(values)

    def test_use_must_be_a_name(self) -> None:
        config = Config.of({"providers": {"x": {"use": 3}}})
        with pytest.raises(ConfigError, match=r"providers\.x\.use"):
            config.provider_options("x")

    @pytest.mark.parametrize(
        ("data", "line"),
        [
            (b'provider = "a"\nattempts = = 2\n', 2),
            (b'provider = "a"\n\nname = "torn', 3),
            (b"a = 1\nb = [", 2),
            (b'a = 1\n\nname = "\xff"\n', 3),
        ],
    )
    @pytest.mark.parametrize("name", ["holodeck-gen.toml", "pyproject.toml"])
    def test_a_broken_file_is_named_with_its_line(
        self, project: Path, name: str, data: bytes, line: int
    ) -> None:
        (project / name).write_bytes(data)
        with pytest.raises(ConfigError, match=rf"{name}, line {line}: not"):
            load(project)

    def test_a_deep_file(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text(f"name = {'[' * 5000}{']' * 5000}")
        with pytest.raises(ConfigError, match=r"holodeck-gen\.toml"):
            load(project)

    def test_a_byte_order_mark_is_accepted(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_bytes(b"\xef\xbb\xbfattempts = 2\r\n")
        assert load(project).get("attempts") == 2

    def test_tool_that_is_no_table(self, project: Path) -> None:
        (project / "pyproject.toml").write_text("tool = 3")
        with pytest.raises(ConfigError, match="'tool' must be a table"):
            load(project)


class TestAccounts:
    def test_each_has_the_providers_options_and_its_own(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text(
            """
            [providers.x]
            use = "y"
            region = "a"
            model = "m"
            [[providers.x.accounts]]
            key = { env = "FIRST" }
            [[providers.x.accounts]]
            key = { env = "SECOND" }
            region = "b"
            """
        )
        config = load(project, FIRST=CANARY, SECOND="other")
        assert config.provider_accounts("x") == (
            "y",
            [
                {"region": "a", "model": "m", "key": CANARY},
                {"region": "b", "model": "m", "key": "other"},
            ],
        )
        assert CANARY not in str(config.settings())

    def test_a_provider_without_them_has_one(self) -> None:
        config = Config.of({"providers": {"x": {"region": "a"}}}, environ={})
        assert config.provider_accounts("x") == ("x", [{"region": "a"}])
        assert config.provider_accounts("z") == ("z", [{}])

    @pytest.mark.parametrize("accounts", [[], "a", {"key": "a"}, [{"key": "a"}, "b"], 3])
    def test_what_is_no_list_of_tables_is_refused(self, accounts: object) -> None:
        config = Config.of({"providers": {"x": {"accounts": accounts}}}, environ={})
        with pytest.raises(ConfigError, match=r"\[\[providers\.x\.accounts\]\]"):
            config.provider_accounts("x")

    def test_a_missing_variable_is_named(self) -> None:
        accounts = [{"key": {"env": "FIRST"}}]
        config = Config.of({"providers": {"x": {"accounts": accounts}}}, environ={})
        with pytest.raises(ConfigError, match="FIRST"):
            config.provider_accounts("x")

    def test_a_stronger_layer_replaces_them_all(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text(
            '[[providers.x.accounts]]\nkey = "a"\n[[providers.x.accounts]]\nkey = "b"'
        )
        config = load(project, HOLODECK_GEN_PROVIDERS__X__ACCOUNTS='[{"key": "c"}]')
        assert config.provider_accounts("x") == ("x", [{"key": "c"}])

    def test_an_endpoint_of_one_is_announced(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text(
            '[[providers.x.accounts]]\nendpoint = "https://elsewhere.example"'
        )
        assert "elsewhere.example" in str(load(project).announcements)


class TestSecrets:
    SECRETS: ClassVar[dict[str, Any]] = {
        "providers": {
            "x": {
                "api_key": CANARY,
                "accounts": [{"secret_id": CANARY, "region": "a"}],
                "password": {"env": "PASSWORD"},
                "endpoint": f"https://user:{CANARY}@example.com/v1",
                "region": {"env": "REGION"},
                "open": "shown",
            }
        }
    }

    def test_they_are_used_but_never_shown(self) -> None:
        config = Config.of(self.SECRETS, environ={"PASSWORD": CANARY, "REGION": CANARY})
        _, options = config.provider_options("x")
        assert options["api_key"] == CANARY
        assert options["password"] == options["region"] == CANARY
        assert options["accounts"] == [{"secret_id": CANARY, "region": "a"}]
        shown = {setting.key: setting for setting in config.settings()}
        assert CANARY not in repr(config)
        assert CANARY not in str(shown)
        assert CANARY not in str(config.announcements)
        assert "PASSWORD" in str(shown["providers.x.password"].value)
        assert shown["providers.x.api_key"].secret
        assert not shown["providers.x.open"].secret
        assert shown["providers.x.open"].value == "shown"

    @pytest.mark.parametrize("environ", [{}, {"PASSWORD": ""}])
    def test_a_missing_variable_is_named_when_it_is_needed(self, environ: dict[str, str]) -> None:
        config = Config.of(self.SECRETS, environ=environ)
        assert config.settings()
        with pytest.raises(ConfigError, match=r"providers\.x\.password needs .* PASSWORD"):
            config.provider_options("x")

    def test_a_variable_for_a_top_level_setting(self) -> None:
        config = Config.of({"attempts": {"env": "X"}}, environ={"X": "3"})
        assert config.get("attempts") == 3

    def test_a_wrong_value_in_a_variable_is_not_repeated(self) -> None:
        config = Config.of({"attempts": {"env": "X"}}, environ={"X": CANARY})
        with pytest.raises(ConfigError, match="attempts") as caught:
            config.get("attempts")
        assert CANARY not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_env_must_name_a_variable(self) -> None:
        with pytest.raises(ConfigError, match="name of a variable"):
            Config.of({"providers": {"x": {"key": {"env": 3}}}})

    def test_dotenv_is_searched_too(self, project: Path) -> None:
        (project / ".env").write_text(f"X={CANARY}")
        (project / "holodeck-gen.toml").write_text('[providers.x]\nkey = {env = "X"}')
        assert load(project).provider_options("x") == ("x", {"key": CANARY})


class TestAnnouncements:
    @pytest.mark.parametrize("option", ["endpoint", "base_url", "host", "proxy"])
    def test_a_projects_endpoint_is_announced(self, project: Path, option: str) -> None:
        (project / "holodeck-gen.toml").write_text(f'[providers.x]\n{option} = "http://evil"')
        (line,) = load(project).announcements
        assert line == f"{project / 'holodeck-gen.toml'} sets providers.x.{option} = http://evil"

    def test_a_stages_endpoint_is_announced(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text('[stages.object]\nendpoint = "http://evil"')
        (line,) = load(project).announcements
        assert line.endswith(" sets stages.object.endpoint = http://evil")

    def test_also_from_dotenv_and_from_within_accounts(self, project: Path) -> None:
        (project / ".env").write_text("HOLODECK_GEN_PROVIDERS__X__ENDPOINT=http://evil")
        (project / "pyproject.toml").write_text(
            '[[tool.holodeck-gen.providers.y.accounts]]\nendpoint = "http://evil"'
        )
        assert len(load(project).announcements) == 2

    def test_also_a_variable_that_only_dotenv_sets(self, project: Path) -> None:
        (project / ".env").write_text("SOME_ENDPOINT=http://evil\nSOME_KEY=canary")
        assert load(project).announcements == (".env sets SOME_ENDPOINT = http://evil",)
        assert load(project, SOME_ENDPOINT="http://mine").announcements == ()

    def test_the_users_own_are_not(self, project: Path) -> None:
        write_user_file(project, '[providers.x]\nendpoint = "http://mine"')
        variable = {"HOLODECK_GEN_PROVIDERS__Y__ENDPOINT": "http://mine"}
        config = load(project, {"providers": {"z": {"endpoint": "http://mine"}}}, **variable)
        assert config.announcements == ()

    def test_one_that_does_not_apply_is_not(self, project: Path) -> None:
        (project / "holodeck-gen.toml").write_text('[providers.x]\nendpoint = "http://evil"')
        assert load(project, {"providers": {"x": {"endpoint": "mine"}}}).announcements == ()
