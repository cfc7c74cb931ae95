"""Which dialect and account are used, what is told of it, and what is never told."""

from __future__ import annotations

from typing import Any

import pytest

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError
from holodeck_gen.testing import run_virtual
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)
from hunyuan_fake import API_KEY, SECRET_ID, SECRET_KEY, SECRETS, TOKEN, FakeService

PAIR = {"HUNYUAN_SECRET_ID": SECRET_ID, "HUNYUAN_SECRET_KEY": SECRET_KEY}
CLOUD = {"TENCENTCLOUD_SECRET_ID": "AKIDcloud", "TENCENTCLOUD_SECRET_KEY": "cloudKey"}
KEY = {"HUNYUAN_API_KEY": API_KEY}


def made(environ: dict[str, str], **options: Any) -> tuple[Any, dict[str, Any]]:
    """A provider, and what was logged of its account."""
    service = FakeService()

    async def main() -> Any:
        return make_hunyuan(HunyuanOptions(**options), service.context(environ))

    provider = run_virtual(main())
    [facts] = [facts for _, event, facts in service.log.events if event == "account.selected"]
    return provider, facts


class TestDialect:
    @pytest.mark.parametrize(
        ("environ", "options", "dialect"),
        [
            (KEY, {}, "tokenhub"),
            (PAIR, {}, "aiart"),
            (CLOUD, {}, "aiart"),
            ({**KEY, **PAIR}, {}, "tokenhub"),
            ({**KEY, **PAIR}, {"dialect": "aiart"}, "aiart"),
            ({**KEY, **PAIR, "HUNYUAN_DIALECT": "hunyuan"}, {}, "hunyuan"),
            ({**KEY, **PAIR, "HUNYUAN_DIALECT": "hunyuan"}, {"dialect": "tokenhub"}, "tokenhub"),
            (KEY, {"secret_id": "id", "secret_key": "key"}, "aiart"),
            (PAIR, {"api_key": "sk-1"}, "tokenhub"),
            ({}, {"api_key": "sk-1", "secret_id": "id", "secret_key": "key"}, "tokenhub"),
        ],
    )
    def test_it_is_named_or_follows_from_the_credentials(
        self, environ: dict[str, str], options: dict[str, str], dialect: str
    ) -> None:
        assert made(environ, **options)[1]["dialect"] == dialect

    def test_a_choice_between_two_kinds_of_credentials_is_explained(self) -> None:
        reason = made({**KEY, **PAIR})[1]["reason"]
        assert "dialect=aiart chooses otherwise" in reason
        assert made(KEY)[1]["reason"] == "an API key is set"

    def test_a_dialect_that_has_ended_says_so(self) -> None:
        assert "2026-09-30" in made({**PAIR, "HUNYUAN_DIALECT": "hunyuan"})[1]["retired"]
        assert "retired" not in made(KEY)[1]

    @pytest.mark.parametrize(
        ("environ", "options", "words"),
        [
            ({}, {}, "HUNYUAN_API_KEY"),
            ({"HUNYUAN_SECRET_ID": "x"}, {}, "HUNYUAN_SECRET_KEY"),
            (PAIR, {"dialect": "tokenhub"}, "HUNYUAN_API_KEY"),
            (KEY, {"dialect": "aiart"}, "HUNYUAN_SECRET_ID"),
            (KEY, {"dialect": "tokenhubb"}, "tokenhub, aiart, hunyuan"),
            (PAIR, {"secret_id": "x"}, "only of use together"),
            (KEY, {"model": "hy-image-v9"}, "hy-image-v3"),
            (PAIR, {"dialect": "hunyuan", "region": "ap-beijing"}, "ap-guangzhou only"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, environ: dict[str, str], options: dict[str, str], words: str
    ) -> None:
        with pytest.raises(ConfigError, match=words):
            made(environ, **options)

    def test_half_a_pair_does_not_stand_in_the_way_of_an_api_key(self) -> None:
        assert made({**KEY, "TENCENTCLOUD_SECRET_ID": "x"})[1]["dialect"] == "tokenhub"

    def test_the_3d_provider_takes_key_pairs_only(self) -> None:
        async def main(environ: dict[str, str]) -> Any:
            return make_hunyuan3d(Hunyuan3DOptions(), FakeService().context(environ))

        assert run_virtual(main({**PAIR, "HUNYUAN_DIALECT": "aiart"})).dialect.name == "ai3d"
        with pytest.raises(ConfigError, match="HUNYUAN_SECRET_ID"):
            run_virtual(main(KEY))


class TestCredentials:
    def test_options_win_over_the_environment(self) -> None:
        provider, _ = made({**PAIR, **CLOUD}, secret_id="mine", secret_key="key")
        assert provider.wire.account.credentials.secret_id == "mine"

    def test_the_own_variables_win_over_the_clouds(self) -> None:
        assert made({**CLOUD, **PAIR})[0].wire.account.credentials.secret_id == SECRET_ID

    @pytest.mark.parametrize(
        ("environ", "token"),
        [
            ({**PAIR, "HUNYUAN_TOKEN": TOKEN}, TOKEN),
            ({**CLOUD, "TENCENTCLOUD_SESSION_TOKEN": TOKEN}, TOKEN),
            ({**CLOUD, "TENCENTCLOUD_TOKEN": TOKEN}, TOKEN),
            # A token of other keys would make good keys bad.
            ({**PAIR, "TENCENTCLOUD_TOKEN": TOKEN}, None),
        ],
    )
    def test_a_token_belongs_to_its_pair(self, environ: dict[str, str], token: str | None) -> None:
        assert made(environ)[0].wire.account.credentials.token == token

    def test_blanks_that_copying_adds_are_dropped(self) -> None:
        provider, _ = made({}, secret_id=" id\n", secret_key="key\r\n", token=" token ")
        credentials = provider.wire.account.credentials
        assert (credentials.secret_id, credentials.secret_key) == ("id", "key")
        assert credentials.token == "token"

    @pytest.mark.parametrize("value", ["sk-龙", "sk-\x00", "sk-a b", "sk-a\r\nX: y"])
    @pytest.mark.parametrize("name", ["api_key", "secret_id", "secret_key", "token"])
    def test_what_fits_into_no_header_is_refused_unquoted(self, name: str, value: str) -> None:
        pair = {"secret_id": "id", "secret_key": "key"}
        given = {name: value} if name == "api_key" else {**pair, name: value}
        with pytest.raises(ConfigError, match="holds characters") as caught:
            made({}, **given)
        assert value not in str(caught.value)


class TestEndpoint:
    def test_it_is_the_services_own_unless_redirected(self) -> None:
        assert made(KEY)[0].endpoint == "https://tokenhub.tencentmaas.com"
        assert made(PAIR)[0].endpoint == "https://aiart.tencentcloudapi.com"

    @pytest.mark.parametrize("environ", [KEY, PAIR, {**PAIR, "HUNYUAN_DIALECT": "hunyuan"}])
    def test_the_environment_redirects_any_dialect(self, environ: dict[str, str]) -> None:
        provider, facts = made({**environ, "HUNYUAN_ENDPOINT": "http://127.0.0.1:8787/"})
        assert provider.endpoint == facts["endpoint"] == "http://127.0.0.1:8787"

    def test_an_option_wins(self) -> None:
        environ = {**KEY, "HUNYUAN_ENDPOINT": "http://127.0.0.1:1"}
        assert made(environ, endpoint="https://Proxy.example:444")[0].endpoint == (
            "https://proxy.example:444"
        )

    @pytest.mark.parametrize(
        "endpoint",
        [
            "127.0.0.1:8787",
            "ftp://host",
            "https://",
            "https://user:hunter2@host",
            "https://host/path",
            "https://host?x=1",
            "http://host:port",
        ],
    )
    def test_anything_but_scheme_and_host_is_refused_unquoted(self, endpoint: str) -> None:
        with pytest.raises(ConfigError, match="must look like") as caught:
            made(KEY, endpoint=endpoint)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("endpoint", "warned"), [("http://127.0.0.1:1", False), ("http://10.0.0.1", True)]
    )
    def test_credentials_in_the_clear_are_told(self, endpoint: str, warned: bool) -> None:
        service = FakeService()

        async def main() -> None:
            make_hunyuan(HunyuanOptions(api_key="sk-1", endpoint=endpoint), service.context())

        run_virtual(main())
        events = [event for _, event, _ in service.log.events]
        assert ("endpoint.not_encrypted" in events) is warned


class TestAccountKey:
    def test_it_tells_accounts_endpoints_and_dialects_apart(self) -> None:
        keys = {
            made(environ, **options)[0].account_key()
            for environ, options in (
                (PAIR, {}),
                (CLOUD, {}),
                (PAIR, {"dialect": "hunyuan"}),
                (PAIR, {"endpoint": "http://127.0.0.1:1"}),
                (KEY, {}),
                ({"HUNYUAN_API_KEY": "sk-other"}, {}),
            )
        }
        assert len(keys) == 6

    def test_a_new_secret_of_the_same_account_is_the_same_account(self) -> None:
        rotated = {**PAIR, "HUNYUAN_SECRET_KEY": "new"}
        assert made(PAIR)[0].account_key() == made(rotated)[0].account_key()


class TestSecrets:
    @pytest.mark.parametrize(
        "environ",
        [KEY, {**PAIR, "HUNYUAN_TOKEN": TOKEN}, {**KEY, **PAIR, "HUNYUAN_DIALECT": "hunyuan"}],
    )
    def test_none_is_shown(self, environ: dict[str, str]) -> None:
        provider, facts = made(environ)
        shown = [
            repr(provider),
            repr(facts),
            provider.account_key(),
            repr(provider.wire),
            repr(provider.wire.account),
            repr(provider.prepare(hg.Task("a"))),
        ]
        for secret in (*SECRETS, SECRET_ID):
            assert not any(secret in text for text in shown)

    def test_options_do_not_show_them(self) -> None:
        options = HunyuanOptions(
            api_key=API_KEY, secret_id=SECRET_ID, secret_key=SECRET_KEY, token=TOKEN
        )
        three = Hunyuan3DOptions(secret_id=SECRET_ID, secret_key=SECRET_KEY, token=TOKEN)
        assert not any(secret in repr(options) + repr(three) for secret in (*SECRETS, SECRET_ID))

    def test_the_account_is_named_so_that_its_owner_knows_it(self) -> None:
        assert made(PAIR)[1]["account"] == "AKI…d01"
