"""Objects in Azure's own emulator, where it is installed: ``npm install -g azurite``."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from email.utils import formatdate
from typing import TYPE_CHECKING

import obstore
import pytest

from holodeck_gen.errors import StorageError
from holodeck_gen_plugins.stores._settings import ObjectOptions
from holodeck_gen_plugins.stores.object import ObjectStore, make_object
from pictures import context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AZURITE = shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(AZURITE is None, reason="azurite-blob is not installed")

#: The emulator's account, which everybody knows.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-08-06"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert AZURITE is not None
    process = subprocess.Popen(
        [
            *(AZURITE, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"),
            *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
        ],
        cwd=tmp_path_factory.mktemp("azurite"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("azurite does not listen")


def make_container(endpoint: str, name: str) -> None:
    """obstore makes none, so this one request is signed here."""
    date = formatdate(usegmt=True)
    blanks = "\n" * 12
    text = (
        f"PUT{blanks}x-ms-date:{date}\nx-ms-version:{VERSION}\n"
        f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    )
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    address = f"{endpoint}/{name}?restype=container"
    request = urllib.request.Request(address, method="PUT", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201


def azure(endpoint: str, container: str, *, key: str = KEY) -> ObjectStore:
    options = ObjectOptions(
        url=f"az://{container}/run",
        endpoint=endpoint,
        config={"account_name": ACCOUNT, "account_key": key},
        multipart_bytes=1 << 20,
    )
    return make_object(options, context())


def names(store: ObjectStore) -> list[str]:
    return sorted(each["path"] for batch in store.objects.list() for each in batch)


@pytest.mark.parametrize("name", ["夜/a door~2.png", "big.glb"])
def test_objects_are_whole_typed_and_never_overwritten(
    endpoint: str, name: str, tmp_path: Path
) -> None:
    """One is sent in one piece, the other in parts."""
    container = f"c{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    make_container(endpoint, container)
    store = azure(endpoint, container)
    asyncio.run(store.check())
    assert names(store) == []
    data = os.urandom(9 << 20) if name == "big.glb" else b"picture"
    file = tmp_path / "file"
    file.write_bytes(data)
    for _ in range(2):
        assert asyncio.run(store.put(file, name)) == f"az://{container}/run/{name}"
    found = obstore.get(store.objects, name)
    media = "model/gltf-binary" if name == "big.glb" else "image/png"
    assert found.attributes["Content-Type"] == media
    assert bytes(found.bytes()) == data
    file.write_bytes(data[:-1] + b"x")
    with pytest.raises(FileExistsError, match="another object"):
        asyncio.run(store.put(file, name))
    assert names(store) == [name]


def test_what_cannot_be_written_is_found_out(endpoint: str) -> None:
    with pytest.raises(StorageError, match="ContainerNotFound"):
        asyncio.run(azure(endpoint, "missing").check())
    wrong = base64.b64encode(bytes(64)).decode()
    with pytest.raises(StorageError, match="cannot be written") as error:
        asyncio.run(azure(endpoint, "missing", key=wrong).check())
    assert wrong not in str(error.value)
