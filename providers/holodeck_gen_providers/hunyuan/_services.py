"""Hosts, actions, fields, quotas and lifetimes of every dialect, as data.

Sources, read in November 2026: the model classes of Tencent's Python SDK (hunyuan 3.1.180,
aiart 3.1.82, ai3d 3.1.192) and the pages https://cloud.tencent.com/document/product/1729,
/1668, /1804 and /1823. What the pages leave open is None here, never a guess that passes for a
limit.
"""

from __future__ import annotations

from decimal import Decimal

from holodeck_gen_providers.hunyuan import _sizes as sizes
from holodeck_gen_providers.hunyuan._services_tokenhub import TOKENHUB
from holodeck_gen_providers.hunyuan._tables import (
    LOGO_MEMBERS,
    MORE_TYPES,
    Dialect,
    Model,
    Option,
    References,
    Sizes,
    Words,
)

HOUR_S = 3600.0

#: Requests a second of one action, region and account, where a figure is published.
_RATE = 20.0

#: CNY for one picture, pay as you go: the dearest tier, because a budget must not be passed. Packs
#: and contracts are for the user's own table of prices.
#: https://cloud.tencent.com/document/product/1668/90896, read 2026-11-23.
_PRICE_V3, _PRICE_RAPID, _PRICE_LITE = Decimal("0.2"), Decimal("0.5"), Decimal("0.099")

#: Codes of SubmitHunyuanImageJob with what they mean, for models that know no codes.
#: https://cloud.tencent.com/document/product/1729/105846
STYLES = {
    "riman": "日漫动画", "shuimo": "水墨画", "monai": "莫奈", "bianping": "扁平插画",
    "xiangsu": "像素插画", "ertonghuiben": "儿童绘本", "3dxuanran": "3D 渲染", "manhua": "漫画",
    "heibaimanhua": "黑白漫画", "xieshi": "写实", "dongman": "动漫", "bijiasuo": "毕加索",
    "saibopengke": "赛博朋克", "youhua": "油画", "masaike": "马赛克", "qinghuaci": "青花瓷",
    "xinnianjianzhi": "新年剪纸", "xinnianhuayi": "新年花艺",
}  # fmt: skip

#: 1 waiting, 2 running, 4 failed, 5 done; there is no 3.
_JOB_CODES = Words(
    job_id="JobId",
    status="JobStatusCode",
    phases={"1": "queued", "2": "running", "4": "failed", "5": "done"},
    error_code="JobErrorCode",
    error_message="JobErrorMsg",
)
_REVISE = {"revise": Option(field="Revise", kind="flag")}
_LOGO = {
    "logo_add": Option(field="LogoAdd", kind="flag"),
    "logo_param": Option(field="LogoParam", kind="object", members=LOGO_MEMBERS),
}
_PLAIN = {"prompt": "Prompt", "size": "Resolution"}
_MIB = 2**20

HUNYUAN = Dialect(
    name="hunyuan",
    host="hunyuan.tencentcloudapi.com",
    signed=True,
    service="hunyuan",
    version="2023-09-01",
    words=_JOB_CODES,
    regions=("ap-guangzhou",),
    # https://cloud.tencent.com/announce/detail/2405
    retired="its image actions ended on 2026-09-30",
    models=(
        Model(
            name="hunyuan-image",
            aliases=("hunyuan-pro", "hunyuan-image-1.0"),
            submit="SubmitHunyuanImageJob",
            query="QueryHunyuanImageJob",
            answer="pictures",
            fields={
                **_PLAIN,
                "negative_prompt": "NegativePrompt",
                "style": "Style",
                "seed": "Seed",
                "n": "Num",
            },
            options={
                **_REVISE,
                **_LOGO,
                "clarity": Option(field="Clarity", kind="text", choices=("x2", "x4")),
            },
            references=References(
                form="object",
                field="ContentImage",
                url="ImageUrl",
                base64="ImageBase64",
                max_bytes=6 * _MIB,
                max_side=4999,
                forces_rewrite=True,
            ),
            sizes=Sizes(allowed=sizes.EIGHT, with_images=sizes.EIGHT[:4]),
            styles=tuple(STYLES),
            max_prompt=1024,
            per_job=4,
            rewrites=True,
            max_jobs=1,
            submit_rate=_RATE,
            poll_rate=_RATE,
            url_ttl_s=HOUR_S,
        ),
        Model(
            name="hunyuan-lite",
            aliases=("lite", "hy-image-lite"),
            submit="TextToImageLite",
            answer="pictures",
            fields={**_PLAIN, "negative_prompt": "NegativePrompt", "style": "Style"},
            constants={"RspImgType": "url"},
            options=_LOGO,
            sizes=Sizes(allowed=(*sizes.EIGHT, (1080, 1920), (1920, 1080))),
            max_prompt=256,
            max_jobs=3,
            url_ttl_s=HOUR_S,
        ),
    ),
)

AIART = Dialect(
    name="aiart",
    host="aiart.tencentcloudapi.com",
    signed=True,
    service="aiart",
    version="2022-12-29",
    words=_JOB_CODES,
    retired="its image actions left Tencent's API definition on 2026-09-22",
    models=(
        Model(
            name="hy-image-v3.0",
            aliases=("hunyuan-pro", "hunyuan-image-3.0"),
            submit="SubmitTextToImageJob",
            query="QueryTextToImageJob",
            answer="pictures",
            fields={**_PLAIN, "seed": "Seed"},
            options={**_REVISE, **_LOGO},
            references=References(
                form="texts",
                field="Images",
                most=3,
                max_bytes=6 * _MIB * 3 // 4,
                media_types=MORE_TYPES,
                min_side=50,
                max_side=5000,
                sets_size=True,
            ),
            sizes=sizes.V3,
            max_prompt=8192,
            rewrites=True,
            max_jobs=1,
            submit_rate=_RATE,
            poll_rate=_RATE,
            url_ttl_s=HOUR_S,
            price=_PRICE_V3,
        ),
        Model(
            name="hunyuan-lite",
            aliases=("lite", "hy-image-lite"),
            submit="TextToImageLite",
            answer="pictures",
            fields={**_PLAIN, "negative_prompt": "NegativePrompt", "seed": "Seed"},
            constants={"RspImgType": "url"},
            options=_LOGO,
            sizes=Sizes(allowed=sizes.BY_LONG_SIDE),
            max_prompt=1024,
            max_jobs=1,
            url_ttl_s=HOUR_S,
            price=_PRICE_LITE,
        ),
        Model(
            name="hunyuan-rapid",
            aliases=("rapid", "hunyuan-image-2.0"),
            submit="TextToImageRapid",
            answer="pictures",
            fields={**_PLAIN, "style": "Style", "seed": "Seed"},
            constants={"RspImgType": "url"},
            options=_LOGO,
            references=References(
                form="object",
                field="Image",
                url="Url",
                base64="Base64",
                max_bytes=6 * _MIB * 3 // 4,
                min_side=128,
                max_side=2048,
                excludes=("style", "size"),
            ),
            sizes=Sizes(allowed=sizes.BY_LONG_SIDE),
            styles=tuple(str(code) for code in range(1, 31)),
            max_prompt=256,
            max_jobs=1,
            url_ttl_s=HOUR_S,
            price=_PRICE_RAPID,
        ),
    ),
)

#: The dialects of the provider ``hunyuan``.
DIALECTS = {dialect.name: dialect for dialect in (TOKENHUB, AIART, HUNYUAN)}
