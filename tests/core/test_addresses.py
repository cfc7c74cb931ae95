"""Where a result's URL may lead; nothing here connects or resolves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._http.addresses import (
    check_url,
    is_allowed,
    is_loopback,
    serves_locally,
    without_query,
)
from holodeck_gen.errors import DownloadError

PUBLIC = ["8.8.8.8", "119.29.29.29", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INNER = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
HERE = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "2002:7f00:1::"]

OTHER_FORMS = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.0x1",
    "0xA9FEA9FE",
    "10.1",
    "256.256.256.256",
    "1.2.3.4.5",
    "example.0x",
    "8.8.8.8.",
]


class TestAddresses:
    @pytest.mark.parametrize("address", PUBLIC)
    def test_public_ones_are_allowed(self, address: str) -> None:
        assert is_allowed(address, local=False)
        assert is_allowed(address, local=True)

    @pytest.mark.parametrize("address", INNER)
    def test_those_of_inner_networks_never_are(self, address: str) -> None:
        assert not is_allowed(address, local=False)
        assert not is_allowed(address, local=True)

    @pytest.mark.parametrize("address", HERE)
    def test_this_machine_is_only_where_the_service_runs_on_it(self, address: str) -> None:
        assert not is_allowed(address, local=False)
        assert is_allowed(address, local=True)

    @pytest.mark.parametrize("address", ["", "localhost", "127.1", "8.8.8"])
    def test_what_is_no_address_is_not(self, address: str) -> None:
        assert not is_allowed(address, local=True)

    @given(st.ip_addresses(v=4))
    def test_wrapped_addresses_are_judged_by_what_is_inside(self, inside: object) -> None:
        judged = is_allowed(str(inside), local=False)
        assert is_allowed(f"::ffff:{inside}", local=False) == judged
        assert is_allowed(f"64:ff9b::{inside}", local=False) == judged


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "https://aiart-1258344699.cos.ap-guangzhou.myqcloud.com/a.png?q-sign-time=1;2&q-ak=A",
            "https://example.com:8443/a%2Fb.png",
            "https://a_b.example.com./x",
            "https://例え.jp/絵.png",
            "https://8.8.8.8/a.png",
            "https://[2606:4700::1111]/a.png",
            "HTTPS://EXAMPLE.COM/",
        ],
    )
    def test_what_services_return_is_taken(self, url: str) -> None:
        assert check_url(url, local=False) == check_url(url, local=True)

    @pytest.mark.parametrize("host", [*OTHER_FORMS, *(h for h in HERE if ":" not in h)])
    def test_this_machine_in_any_form_is_refused(self, host: str) -> None:
        with pytest.raises(DownloadError):
            check_url(f"https://{host}/a.png", local=False)

    @pytest.mark.parametrize("address", INNER)
    @pytest.mark.parametrize("local", [True, False])
    def test_inner_networks_are_refused(self, address: str, local: bool) -> None:
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(DownloadError):
            check_url(f"https://{host}/latest/meta-data/", local=local)

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "[::1]"])
    def test_this_machine_by_name_is_refused(self, host: str) -> None:
        with pytest.raises(DownloadError, match="public address"):
            check_url(f"https://{host}/a.png", local=False)

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "ftp://example.com/a.png",
            "data:image/png;base64,AAAA",
            "gopher://example.com/",
            "//example.com/a.png",
            "example.com/a.png",
            "https:///a.png",
            "https://",
            "",
            "https://exa mple.com/",
            "https://exa%6dple.com/",
            "https://127%2e0.0.1/",
            "https://１２７.0.0.1/",
            "https://[::1",
            "https://example.com:99999/",
            "https://example.com:x/",
            "https://example.com:0/",
            "https://a..b/",
            "https://example.com/\x00",
        ],
    )
    def test_what_is_no_web_address_is_refused(self, url: str) -> None:
        for local in (True, False):
            with pytest.raises(DownloadError):
                check_url(url, local=local)

    @pytest.mark.parametrize(
        "url",
        [
            "https://user:word@example.com/",
            "https://user@example.com/",
            "https://example.com\\@127.0.0.1/",
            "ftp://user:word@example.com/",
        ],
    )
    def test_user_info_is_refused_and_not_told(self, url: str) -> None:
        with pytest.raises(DownloadError) as caught:
            check_url(url, local=True)
        assert "word" not in str(caught.value)

    def test_http_is_taken_only_from_this_machine(self) -> None:
        with pytest.raises(DownloadError, match="not https"):
            check_url("http://example.com/a.png", local=False)
        with pytest.raises(DownloadError, match="not https"):
            check_url("http://example.com/a.png", local=True)
        assert check_url("http://127.0.0.1:9000/a.png", local=True).port == 9000
        assert check_url("http://localhost/a.png", local=True).host == "localhost"

    def test_a_signature_is_not_told(self) -> None:
        with pytest.raises(DownloadError) as caught:
            check_url("http://example.com/a.png?sign=secret#secret", local=False)
        assert "secret" not in str(caught.value)
        assert "example.com/a.png" in str(caught.value)

    @given(st.text(max_size=40))
    def test_any_host_is_an_answer_or_a_refusal(self, text: str) -> None:
        try:
            url = check_url(f"https://{text}/", local=False)
        except DownloadError:
            return
        assert not is_loopback(url.host)
        assert url.scheme == "https"


class TestEndpoint:
    @pytest.mark.parametrize(
        "endpoint",
        ["http://127.0.0.1:8080", "http://localhost", "127.0.0.1:8080", "http://[::1]:1/v1"],
    )
    def test_of_an_emulator(self, endpoint: str) -> None:
        assert serves_locally(Service(endpoint))

    @pytest.mark.parametrize(
        "endpoint",
        ["https://aiart.tencentcloudapi.com", None, "", "http://10.0.0.1", "http://[", "http://"],
    )
    def test_of_any_other_service(self, endpoint: str | None) -> None:
        assert not serves_locally(Service(endpoint))

    def test_that_is_not_told(self) -> None:
        assert not serves_locally(object())


class Service:
    def __init__(self, endpoint: str | None) -> None:
        self.endpoint = endpoint


def test_without_query() -> None:
    assert without_query("https://h/p?a#b") == "https://h/p"
    assert without_query("https://h/p#b?a") == "https://h/p"
    assert without_query("https://u:p@h/p") == "https://…@h/p"
