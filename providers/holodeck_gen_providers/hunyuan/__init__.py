"""Tencent Hunyuan: pictures in three dialects of its service, and 3D models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg

if TYPE_CHECKING:
    import click

#: The one region that every action of the family accepts.
DEFAULT_REGION = "ap-guangzhou"


@attrs.frozen(kw_only=True)
class Hunyuan3DOptions:
    """Options of the provider of 3D models. What is empty is looked up in the environment.

    Attributes:
        secret_id: Else HUNYUAN_SECRET_ID, else TENCENTCLOUD_SECRET_ID.
        secret_key: Else HUNYUAN_SECRET_KEY, else TENCENTCLOUD_SECRET_KEY.
        token: Of temporary credentials; else HUNYUAN_TOKEN or TENCENTCLOUD_TOKEN.
        region: Of the access domain.
        endpoint: Such as http://127.0.0.1:8787 for an emulator; else HUNYUAN_ENDPOINT.
        model: Of tasks that name none.
    """

    secret_id: str = attrs.field(default="", repr=False)
    secret_key: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    region: str = DEFAULT_REGION
    endpoint: str = ""
    model: str = ""


@attrs.frozen(kw_only=True)
class HunyuanOptions:
    """Options of the provider of pictures. What is empty is looked up in the environment.

    Attributes:
        api_key: For dialect tokenhub; else HUNYUAN_API_KEY.
        secret_id: For the other dialects; else HUNYUAN_SECRET_ID, else TENCENTCLOUD_SECRET_ID.
        secret_key: Goes with it; else HUNYUAN_SECRET_KEY, else TENCENTCLOUD_SECRET_KEY.
        token: Of temporary credentials; else HUNYUAN_TOKEN or TENCENTCLOUD_TOKEN.
        dialect: tokenhub, aiart or hunyuan; else HUNYUAN_DIALECT, else by the credentials.
        region: Of the access domain, for aiart and hunyuan.
        endpoint: Such as http://127.0.0.1:8787 for an emulator; else HUNYUAN_ENDPOINT.
        model: Of tasks that name none.
    """

    api_key: str = attrs.field(default="", repr=False)
    secret_id: str = attrs.field(default="", repr=False)
    secret_key: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    dialect: str = ""
    region: str = DEFAULT_REGION
    endpoint: str = ""
    model: str = ""


def make_hunyuan(options: HunyuanOptions | None, ctx: hg.Context) -> hg.Provider:
    """The factory of the provider of pictures."""
    from holodeck_gen_providers.hunyuan._make import make
    from holodeck_gen_providers.hunyuan._services import DIALECTS

    return make("hunyuan", options or HunyuanOptions(), ctx, DIALECTS)


def make_hunyuan3d(options: Hunyuan3DOptions | None, ctx: hg.Context) -> hg.Provider:
    """The factory of the provider of 3D models."""
    from holodeck_gen_providers.hunyuan._make import make
    from holodeck_gen_providers.hunyuan._services3d import AI3D

    return make("hunyuan3d", options or Hunyuan3DOptions(), ctx, {AI3D.name: AI3D})


@hg.hookimpl
def register_providers(register: hg.Register) -> None:
    """Register both providers."""
    register(
        "hunyuan",
        make_hunyuan,
        options=HunyuanOptions,
        summary="Tencent Hunyuan: pictures, by TokenHub or by the older signed interfaces; paid.",
    )
    register(
        "hunyuan3d",
        make_hunyuan3d,
        options=Hunyuan3DOptions,
        summary="Tencent Hunyuan: 3D models from a prompt or a picture; paid.",
    )


@hg.hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``emulate hunyuan``."""
    from holodeck_gen_providers.hunyuan.emulator._command import add_to

    add_to(cli)
