"""A server on this machine that speaks S3, and what is in its buckets."""

from __future__ import annotations

import logging
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import S3Store

#: Any will do.
KEYS = {"access_key_id": "an-id", "secret_access_key": "a-secret", "region": "eu-test-1"}


@attrs.frozen
class S3:
    """Where it listens."""

    url: str

    def make(self, bucket: str) -> None:
        """Make a bucket."""
        request = urllib.request.Request(f"{self.url}/{bucket}", method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def names(self, bucket: str) -> list[str]:
        """Everything in a bucket."""
        return sorted(each["path"] for batch in self._objects(bucket).list() for each in batch)

    def read(self, bucket: str, name: str) -> bytes:
        """One object."""
        import obstore

        return bytes(obstore.get(self._objects(bucket), name).bytes())

    def stage(self, **options: object) -> dict[str, object]:
        """The options of the stage ``object`` for it."""
        return {"endpoint": self.url, **KEYS, **options}

    def _objects(self, bucket: str) -> S3Store:
        from obstore.store import S3Store

        config: Any = {"endpoint": self.url, **KEYS}
        return S3Store(bucket, config=config, client_options={"allow_http": True})


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server, until the block ends."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    moto.stop()
