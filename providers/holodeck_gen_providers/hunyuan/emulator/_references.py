"""The service's checks of reference pictures: addresses are never fetched, bytes are looked at."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holodeck_gen_providers.hunyuan._tables import Model, References


def check_references(dialect: str, model: Model, parameters: Mapping[str, Any]) -> None:
    """Refuse pictures that the service could not use.

    Raises:
        RefusedError: With the code of API 3.0.
    """
    references = model.references
    if references is None:
        return
    checks = _Checks(dialect, references)
    match references.form:
        case "object":
            checks.object(parameters.get(references.field))
        case "members":
            checks.members(parameters)
        case "messages":
            checks.messages(parameters.get("messages"))
        case "texts" | "data_urls":
            checks.texts(parameters.get(references.field))


def instruction(parameters: Mapping[str, Any]) -> str:
    """The text of the last message of the user; checked before."""
    content = parameters["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


class _Checks:
    def __init__(self, dialect: str, references: References) -> None:
        self.dialect = dialect
        self.references = references

    def object(self, value: Any) -> None:
        if value is None:
            return
        known = {self.references.url, self.references.base64}
        if not isinstance(value, dict) or not set(value) <= known:
            raise self._bad(f"`{self.references.field}` is not an object of {sorted(known)}")
        if not any(value.values()):
            raise self._empty()
        self._url(value.get(self.references.url))
        self._base64(value.get(self.references.base64))

    def members(self, parameters: Mapping[str, Any]) -> None:
        url = parameters.get(self.references.url)
        data = parameters.get(self.references.base64)
        words = parameters.get("Prompt")
        sketch = parameters.get("GenerateType") == "Sketch"
        given = [value for value in (url, data, words) if value]
        if not given:
            raise RefusedError("InvalidParameterValue", "There is neither a prompt nor a picture.")
        if (url and data) or (len(given) > 1 and not sketch):
            raise RefusedError(
                "InvalidParameterValue", "Give one of Prompt, ImageUrl and ImageBase64."
            )
        self._url(url)
        self._base64(data)

    def texts(self, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._bad(f"`{self.references.field}` is not a list of texts")
        if len(value) > self.references.most:
            raise self._bad(f"{len(value)} pictures; {self.references.most} are allowed")
        for each in value:
            self._picture(each)

    def messages(self, value: Any) -> None:
        if value is None:
            raise RefusedError(
                "MissingParameter", "The request is missing a required parameter `messages`."
            )
        if not isinstance(value, list) or not value or not all(_is_message(m) for m in value):
            raise self._bad("`messages` is not a list of chat messages")
        if value[-1]["role"] != "user":
            raise self._bad("the last message is not the user's")
        parts = [part for message in value for part in _parts(message)]
        addresses = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        if len(addresses) > self.references.most:
            raise self._bad(f"{len(addresses)} pictures; {self.references.most} are allowed")
        for each in addresses:
            self._picture(each)
        if not instruction({"messages": value}).strip():
            raise self._bad("the last message has no text")

    def _picture(self, text: str) -> None:
        if text.startswith("data:"):
            head, _, data = text.partition(",")
            # Signed dialects were seen to refuse these.
            if self.dialect != "tokenhub" or not head.endswith(";base64"):
                raise self._illegal()
            self._base64(data)
        elif text.startswith(("http://", "https://")):
            self._url(text)
        else:
            self._base64(text)

    def _url(self, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            raise self._illegal()

    def _base64(self, value: Any) -> None:
        if value is None:
            return
        try:
            data = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise self._undecodable() from None
        if not data:
            raise self._empty()
        if len(data) > self.references.max_bytes:
            raise RefusedError("FailedOperation.ImageSizeExceed", "The picture is too large.")
        self._look(data)

    def _look(self, data: bytes) -> None:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data)) as image:
                size, media_type = image.size, Image.MIME.get(image.format or "")
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ):
            raise self._undecodable() from None
        if media_type not in self.references.media_types:
            raise self._undecodable()
        least, most = self.references.min_side, self.references.max_side
        if not least <= min(size) <= max(size) <= most:
            raise RefusedError(
                "FailedOperation.ImageResolutionExceed",
                f"The picture is {size[0]}x{size[1]}; {least} to {most} a side are taken.",
            )

    def _illegal(self) -> RefusedError:
        code = "ImageRequestError" if self.dialect == "hunyuan" else "UrlIllegal"
        return RefusedError(f"InvalidParameterValue.{code}", "The picture's address is illegal.")

    def _empty(self) -> RefusedError:
        code = "ImageRequestError" if self.dialect == "hunyuan" else "ImageEmpty"
        return RefusedError(f"InvalidParameterValue.{code}", "The picture is empty.")

    def _undecodable(self) -> RefusedError:
        return RefusedError("FailedOperation.ImageDecodeFailed", "The picture cannot be decoded.")

    def _bad(self, reason: str) -> RefusedError:
        return RefusedError("InvalidParameterValue.ParameterValueError", f"{reason}.")


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("role") not in ("system", "user", "assistant"):
        return False
    content = value.get("content")
    if isinstance(content, str):
        return True
    return isinstance(content, list) and all(_is_part(part) for part in content)


def _is_part(value: Any) -> bool:
    match value:
        case {"type": "text", "text": str()} | {"type": "image_url", "image_url": {"url": str()}}:
            return True
        case _:
            return False
