"""Signatures: made offline, read back by the library of those who define them, never broken."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import result_of
from holodeck_gen.errors import ConfigError, PluginLoadError, ProcessingError
from holodeck_gen.testing import ScriptedProvider, run_virtual
from holodeck_gen_plugins.processors._metadata import with_metadata
from holodeck_gen_plugins.processors._provenance import SOURCE_TYPE, SOURCE_TYPES
from holodeck_gen_plugins.processors._xmp import Property, with_properties
from holodeck_gen_plugins.processors.c2pa import C2paOptions, make_c2pa
from holodeck_gen_plugins.processors.label import LabelOptions, make_label
from pictures import (
    FORMATS,
    context,
    credentials,
    encoded,
    manifests,
    pixels,
    put,
    read_back,
    signature_is_valid,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TASK = hg.Task("a door", id="door", provider="hunyuan", model="m-1")
CHAIN, KEY = (each.decode() for each in credentials())
each_format = pytest.mark.parametrize("format", FORMATS)


def stage(**options: Any) -> Callable[[Path, hg.Task], Path]:
    given = {"certificate": CHAIN, "private_key": KEY, **options}
    return make_c2pa(C2paOptions(**given), context(now=time.time()))


def claims_of(format: str, data: bytes) -> list[dict[str, Any]]:
    """Every manifest, the latest last."""
    found = manifests(format, data)
    assert found["validation_state"] == "Valid"
    latest = found["active_manifest"]
    return sorted(found["manifests"].values(), key=lambda each: bool(each["label"] == latest))


def actions_of(claim: dict[str, Any]) -> list[dict[str, Any]]:
    (assertion,) = (a for a in claim["assertions"] if a["label"].startswith("c2pa.actions"))
    actions: list[dict[str, Any]] = assertion["data"]["actions"]
    return actions


@contextmanager
def time_stamps(folder: Path) -> Iterator[str]:
    """A time stamp authority on this machine: OpenSSL behind a web server; its address."""
    folder.mkdir()
    chain, key = credentials(purpose="time")
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    (folder / "tsa.cnf").write_text(
        "[tsa]\nserial = serial\ndefault_policy = 1.2.3\ndigests = sha256, sha384, sha512\n"
        "signer_digest = sha256\ness_cert_id_chain = no\n"
    )

    class Authority(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            reply = subprocess.run(
                [
                    *("openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "tsa"),
                    *("-queryfile", "query", "-signer", "chain.pem", "-inkey", "key.pem"),
                    *("-chain", "chain.pem"),
                ],
                cwd=folder,
                capture_output=True,
                check=True,
            ).stdout
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Authority)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TestSigning:
    @each_format
    def test_who_made_it_how_and_with_what(self, format: str, tmp_path: Path) -> None:
        before = encoded(format)
        file = put(tmp_path, format, before)
        assert stage()(file, TASK) == file
        assert [each.name for each in tmp_path.iterdir()] == [file.name]
        (claim,) = claims_of(format, file.read_bytes())
        (created,) = actions_of(claim)
        assert created["action"] == "c2pa.created"
        assert created["digitalSourceType"] == SOURCE_TYPES + "trainedAlgorithmicMedia"
        assert created["softwareAgent"] == {"name": "hunyuan m-1"}
        generator = claim["claim_generator_info"][0]
        assert (generator["name"], generator["version"]) == ("holodeck-gen", hg.__version__)
        assert pixels(file) == pixels(before)

    @pytest.mark.parametrize("format", ["gif", "tiff"])
    def test_other_formats_that_hold_a_manifest(self, format: str, tmp_path: Path) -> None:
        file = tmp_path / f"image.{format}"
        file.write_bytes(encoded(format))
        stage()(file, TASK)
        assert signature_is_valid(format, file.read_bytes())

    @each_format
    def test_labels_are_covered_by_the_signature(self, format: str, tmp_path: Path) -> None:
        file = put(tmp_path, format)
        make_label(LabelOptions(producer="us-001", source_type="algorithmicMedia"), context())(
            file, TASK
        )
        stage()(file, TASK)
        words = read_back(file)
        assert "us-001" in words["Xmp.TC260.AIGC"]
        data = file.read_bytes()
        # What the label says is what is signed, whatever the option says.
        (created,) = actions_of(claims_of(format, data)[0])
        assert created["digitalSourceType"] == words["Xmp.iptcExt.DigitalSourceType"]
        assert created["digitalSourceType"].endswith("/algorithmicMedia")
        assert not signature_is_valid(format, data.replace(b"us-001", b"us-002"))

    def test_a_source_type_of_no_vocabulary_is_not_repeated(self, tmp_path: Path) -> None:
        xmp = with_properties(None, [attrs.evolve(SOURCE_TYPE, value="https://example.org/mine")])
        file = put(tmp_path, "jpeg", with_metadata(encoded("jpeg"), xmp=xmp))
        stage(source_type="algorithmicMedia")(file, TASK)
        (created,) = actions_of(claims_of("jpeg", file.read_bytes())[0])
        assert created["digitalSourceType"] == SOURCE_TYPES + "algorithmicMedia"

    def test_what_is_no_picture_passes(self, tmp_path: Path) -> None:
        file = tmp_path / "image.glb"
        file.write_bytes(b"glTF" + bytes(20))
        assert stage()(file, TASK).read_bytes() == b"glTF" + bytes(20)

    def test_a_format_without_a_place_for_it_is_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "image.bmp"
        file.write_bytes(encoded("bmp"))
        with capture_logs() as logs:
            assert stage()(file, TASK).read_bytes() == encoded("bmp")
        assert [log["event"] for log in logs] == ["picture.not_signed"]
        assert "image/bmp" in logs[0]["reason"]

    @pytest.mark.skipif(not shutil.which("openssl"), reason="OpenSSL plays the authority")
    def test_somebody_else_certifies_the_time(self, tmp_path: Path) -> None:
        file = put(tmp_path, "png")
        with time_stamps(tmp_path / "tsa") as url:
            stage(time_stamp_url=url)(file, TASK)
        (claim,) = claims_of("png", file.read_bytes())
        stamped = datetime.fromisoformat(claim["signature_info"]["time"])
        assert abs(stamped.timestamp() - time.time()) < 600

    def test_a_time_stamp_that_cannot_be_had_fails_the_stage(self, tmp_path: Path) -> None:
        file = put(tmp_path, "png")
        before = file.read_bytes()
        with pytest.raises(ProcessingError, match="c2pa: "):
            stage(time_stamp_url="http://127.0.0.1:1/")(file, TASK)
        assert file.read_bytes() == before


class TestExisting:
    @pytest.mark.parametrize("format", ["png", "jpeg"])
    def test_a_claim_is_added_and_the_first_one_still_vouches(
        self, format: str, tmp_path: Path
    ) -> None:
        file = put(tmp_path, format, signed(format))
        stage()(file, TASK)
        first, ours = claims_of(format, file.read_bytes())
        assert actions_of(first)[0]["action"] == "c2pa.created"
        assert [each["relationship"] for each in ours["ingredients"]] == ["parentOf"]
        assert ours["ingredients"][0]["active_manifest"] == first["label"]
        assert [each["action"] for each in actions_of(ours)] == ["c2pa.opened"]
        assert pixels(file) == pixels(signed(format))
        broken = bytearray(file.read_bytes())
        broken[-30] ^= 1
        assert not signature_is_valid(format, bytes(broken))

    def test_where_the_first_one_would_not_hold_any_more_nothing_is_added(
        self, tmp_path: Path
    ) -> None:
        file = put(tmp_path, "webp", signed("webp"))
        with capture_logs() as logs:
            assert stage()(file, TASK).read_bytes() == signed("webp")
        assert [log["event"] for log in logs] == ["picture.not_signed"]
        assert [each.name for each in tmp_path.iterdir()] == [file.name]

    @each_format
    def test_it_can_be_kept_as_it_is(self, format: str, tmp_path: Path) -> None:
        file = put(tmp_path, format, signed(format))
        assert stage(existing="keep")(file, TASK).read_bytes() == signed(format)

    @each_format
    def test_a_picture_that_was_tampered_with_is_not_made_good(
        self, format: str, tmp_path: Path
    ) -> None:
        broken = bytearray(signed(format))
        if format == "webp":
            # Its manifest comes last.
            broken[40] ^= 1
        else:
            broken[-30] ^= 1
        file = put(tmp_path, format, bytes(broken))
        with capture_logs() as logs:
            assert stage()(file, TASK).read_bytes() == broken
        assert [log["event"] for log in logs] == ["picture.not_signed"]
        assert "does not hold" in logs[0]["reason"]

    @each_format
    def test_a_manifest_that_is_elsewhere_is_not_asked_for(
        self, format: str, tmp_path: Path
    ) -> None:
        where = Property("http://purl.org/dc/terms/", "dcterms", "provenance", "http://127.0.0.1:1")
        data = with_metadata(encoded(format), xmp=with_properties(None, [where]))
        file = put(tmp_path, format, data)
        with capture_logs() as logs:
            assert stage()(file, TASK).read_bytes() == data
        assert [log["event"] for log in logs] == ["picture.not_signed"]


class TestOptions:
    """Each is found out before anything is paid for."""

    def refusal(self, **options: Any) -> str:
        with pytest.raises(ConfigError, match=r"^c2pa: ") as caught:
            stage(**options)
        told = str(caught.value)
        cause: BaseException | None = caught.value
        while cause is not None:
            assert "PRIVATE" not in f"{cause} {cause!r}"
            cause = cause.__cause__ or cause.__context__
        return told

    def test_a_certificate_that_has_expired(self) -> None:
        chain, key = (each.decode() for each in credentials(days=(-10, -5)))
        assert "it has expired, at 20" in self.refusal(certificate=chain, private_key=key)

    def test_one_that_is_not_valid_yet(self) -> None:
        chain, key = (each.decode() for each in credentials(days=(5, 10)))
        assert "not valid before" in self.refusal(certificate=chain, private_key=key)

    def test_one_that_is_for_nothing_of_the_kind(self) -> None:
        chain, key = (each.decode() for each in credentials(purpose=None))
        assert "emailProtection" in self.refusal(certificate=chain, private_key=key)

    def test_a_key_of_another(self) -> None:
        _, key = (each.decode() for each in credentials())
        assert "does not belong to the first certificate" in self.refusal(private_key=key)

    def test_an_algorithm_that_is_unknown_or_does_not_fit(self) -> None:
        assert "'rs256' is none of es256" in self.refusal(algorithm="rs256")
        assert "takes es256" in self.refusal(algorithm="es384")

    def test_files_that_are_not_there(self, tmp_path: Path) -> None:
        assert "No such file" in self.refusal(certificate=str(tmp_path / "none.pem"))
        told = self.refusal(private_key=str(tmp_path / "none.key"))
        assert "No such file" in told
        assert "none.key" not in told

    @pytest.mark.parametrize("junk", ["", "x" * 5000, "MHcCAQEEIFsecret", "a\0b"])
    def test_a_key_that_is_none_is_not_told(self, junk: str) -> None:
        told = self.refusal(private_key=junk)
        assert not junk or junk not in told

    def test_what_is_no_certificate_or_key(self, tmp_path: Path) -> None:
        junk = tmp_path / "junk.pem"
        junk.write_bytes(bytes(range(256)))
        assert "no certificate" in self.refusal(certificate=str(junk))
        assert "cannot be read" in self.refusal(private_key=str(junk))

    def test_what_is_missing(self) -> None:
        with pytest.raises(ConfigError, match="certificate and private_key"):
            make_c2pa(None, context())

    @pytest.mark.parametrize("address", ["tsa.example", "ftp://tsa.example/", "/etc/passwd"])
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(ValueError, match="no http"):
            C2paOptions(certificate="", private_key="", time_stamp_url=address)

    def test_a_key_with_a_password(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives import serialization as form

        own = form.load_pem_private_key(KEY.encode(), None)
        locked = own.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"open")
        ).decode()
        stage(private_key=locked, password="open")
        assert "needs its password" in self.refusal(private_key=locked)
        assert "password is wrong" in self.refusal(private_key=locked, password="shut")
        assert "has no password" in self.refusal(password="open")

    @pytest.mark.parametrize("algorithm", ["es384", "es512", "ps256", "ps512", "ed25519"])
    def test_every_kind_of_key(self, algorithm: str, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        make: dict[str, Any] = {
            "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
        }
        own = make.get(algorithm, lambda: rsa.generate_private_key(65537, 2048))()
        chain, key = (each.decode() for each in credentials(own))
        file = put(tmp_path, "png")
        stage(certificate=chain, private_key=key, algorithm=algorithm)(file, TASK)
        (claim,) = claims_of("png", file.read_bytes())
        assert claim["signature_info"]["alg"].lower() == algorithm

    def test_a_key_that_c2pa_knows_no_algorithm_for(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        chain, key = (
            each.decode() for each in credentials(ec.generate_private_key(ec.SECP256K1()))
        )
        assert "no algorithm" in self.refusal(certificate=chain, private_key=key)

    def test_a_certificate_that_ends_soon_is_warned_of(self) -> None:
        chain, key = (each.decode() for each in credentials(days=(-1, 2)))
        with capture_logs() as logs:
            stage(certificate=chain, private_key=key)
        assert [log["event"] for log in logs] == ["certificate.expires_soon"]
        assert 46 <= logs[0]["hours"] <= 48

    def test_no_key_is_in_what_is_printed_or_shown(self) -> None:
        made = stage(password=None)
        lines = [line for line in KEY.splitlines() if "PRIVATE" not in line]
        assert not any(line in repr(made) for line in lines)
        config = hg.Config.of({"stages": {"c2pa": {"private_key": KEY, "password": "open"}}})
        shown = str(config.settings())
        assert not any(line in shown for line in [*lines, "open"])

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "c2pa", None)
        with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[c2pa\]'"):
            stage()


class TestInARun:
    def outcome(self, output: Path, options: dict[str, Any], chain: list[Any]) -> hg.Outcome:
        self.provider = ScriptedProvider()

        async def main() -> hg.Outcome:
            async with hg.AsyncStudio(
                self.provider,
                output=output,
                process=chain,
                config=hg.Config.of({"stages": {"c2pa": options}}, environ={"SIGNER": KEY}),
            ) as studio:
                return (await studio.generate_all([hg.Task("a door", id="door")]))[0]

        return run_virtual(main())

    def test_the_default_chain_ends_with_it(self, tmp_path: Path) -> None:
        certificate = tmp_path / "chain.pem"
        certificate.write_text(CHAIN)
        options = {"certificate": str(certificate), "private_key": {"env": "SIGNER"}}
        with capture_logs() as logs:
            chain = ["convert", "label", "thumbnail", "c2pa"]
            result = result_of(self.outcome(tmp_path / "out", options, chain))
        assert len(result.artifacts) == 2
        for each, format in zip(result.artifacts, ("png", "jpeg"), strict=True):
            assert signature_is_valid(format, each.read_bytes())
        assert KEY.splitlines()[1] not in str(logs)

    def test_a_stage_that_changes_what_is_signed_is_named(self, tmp_path: Path) -> None:
        def stamp(file: Path, _task: hg.Task) -> Path:
            file.write_bytes(file.read_bytes() + b"more")
            return file

        def rename(file: Path, _task: hg.Task) -> Path:
            return file.rename(file.with_stem(f"{file.stem}-new"))

        options = {"certificate": CHAIN, "private_key": KEY}
        chain = ["c2pa", "label", "thumbnail", "dedupe", stamp, "dedupe", rename]
        with capture_logs() as logs:
            result_of(self.outcome(tmp_path / "out", options, chain))
        broken = [log for log in logs if log["event"] == "stage.broke_seal"]
        assert [(log["stage"], log["sealed_by"], log["task"]) for log in broken] == [
            ("stamp", "c2pa", "door"),
            ("rename", "c2pa", "door"),
        ]

    def test_nothing_is_paid_for_where_it_cannot_sign(self, tmp_path: Path) -> None:
        chain, key = (each.decode() for each in credentials(days=(-10, -5)))
        with pytest.raises(ConfigError, match="it has expired"):
            self.outcome(tmp_path / "out", {"certificate": chain, "private_key": key}, ["c2pa"])
        assert self.provider.submits == []
