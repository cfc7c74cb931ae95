"""TokenHub as data: Tencent's model service with bearer keys, which follows the older two.

Sources, read in November 2026: https://cloud.tencent.com/document/product/1823/130080 and
/135745, and what working clients send. Neither quotas nor all status words are documented.
"""

from __future__ import annotations

from holodeck_gen_providers.hunyuan import _sizes as sizes
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
_MIB = 2**20

#: The documented list is not complete; these are what working clients know.
_TOKENHUB_WORDS = Words(
    job_id="id",
    status="status",
    phases={
        "queued": "queued",
        "running": "running",
        "in_progress": "running",
        "completed": "done",
        "failed": "failed",
    },
    error_code="error.code",
    error_message="error.message",
)

_SNAKE_LOGO = {
    "logo_add": Option(field="logo_add", kind="flag"),
    "logo_param": Option(field="logo_param", kind="object", members=LOGO_MEMBERS),
}

_FOOTNOTE = {"footnote": Option(field="footnote", kind="text", maximum=16)}
_SNAKE = {"prompt": "prompt", "seed": "seed"}

TOKENHUB = Dialect(
    name="tokenhub",
    host="tokenhub.tencentmaas.com",
    signed=False,
    words=_TOKENHUB_WORDS,
    models=(
        Model(
            name="hy-image-v3.0",
            aliases=("hunyuan-pro", "hunyuan-image-3.0"),
            submit="/v1/api/image/submit",
            query="/v1/api/image/query",
            answer="data",
            # The native API's fields in snake case: /document/product/1823/130080
            fields={**_SNAKE, "size": "resolution"},
            options={"revise": Option(field="revise", kind="flag"), **_SNAKE_LOGO},
            references=References(
                form="data_urls",
                field="images",
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
            url_ttl_s=HOUR_S,
        ),
        Model(
            name="hy-image-lite",
            aliases=("lite", "hunyuan-lite"),
            submit="/v1/api/image/lite",
            answer="data",
            fields={**_SNAKE, "size": "resolution", "negative_prompt": "negative_prompt"},
            constants={"rsp_img_type": "url"},
            options=_SNAKE_LOGO,
            sizes=Sizes(allowed=sizes.BY_LONG_SIDE),
            max_prompt=1024,
            url_ttl_s=HOUR_S,
        ),
        Model(
            name="hy-image-v3",
            submit="/v1/wand/hunyuan-image/v3-generation",
            answer="data",
            # /document/product/1823/135745. A negative_prompt is answered with HTTP 500.
            fields={**_SNAKE, "size": "size"},
            options={"revise": Option(field="revise", kind="bool"), **_FOOTNOTE},
            references=References(
                form="data_urls",
                field="images",
                most=3,
                max_bytes=10 * _MIB,
            ),
            sizes=sizes.V3_X,
            max_prompt=8192,
            rewrites=True,
            url_ttl_s=12 * HOUR_S,
        ),
        Model(
            name="hy-image-v3.5-preview",
            aliases=("hy-image-v3.5",),
            submit="/v1/wand/hunyuan-image/v35-generation",
            answer="choices",
            fields={"seed": "seed", "size": "size"},
            options={
                **_FOOTNOTE,
                "generate_max_pixels": Option(
                    field="generate_max_pixels", kind="integer", minimum=1
                ),
            },
            references=References(form="messages", most=20, max_bytes=20 * _MIB),
            sizes=sizes.V35,
            url_ttl_s=12 * HOUR_S,
        ),
    ),
)
