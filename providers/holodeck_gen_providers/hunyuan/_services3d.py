"""The 3D family as data: the only dialect of the provider ``hunyuan3d``.

Sources, read in November 2026: Tencent's Python SDK (ai3d 3.1.192) and
https://cloud.tencent.com/document/product/1804.
"""

from __future__ import annotations

from holodeck_gen_providers.hunyuan._tables import Dialect, Model, Option, References, Words

_MIB = 2**20
_DAY_S = 24 * 3600.0

_WORDS = Words(
    job_id="JobId",
    status="Status",
    phases={"WAIT": "queued", "RUN": "running", "FAIL": "failed", "DONE": "done"},
    error_code="ErrorCode",
    error_message="ErrorMessage",
)
_REFERENCE = References(
    form="members",
    url="ImageUrl",
    base64="ImageBase64",
    max_bytes=6 * _MIB * 3 // 4,
    min_side=128,
    max_side=5000,
    # Sketch is the one manner in which words and a picture go together.
    excludes=("prompt",),
)
_PBR = {"enable_pbr": Option(field="EnablePBR", kind="bool")}


def _format(*choices: str) -> dict[str, Option]:
    return {"result_format": Option(field="ResultFormat", kind="text", choices=choices)}


_PRO_OPTIONS = {
    **_PBR,
    **_format("STL", "USDZ", "FBX"),
    "face_count": Option(field="FaceCount", kind="integer", minimum=3000, maximum=1_500_000),
    "generate_type": Option(
        field="GenerateType", kind="text", choices=("Normal", "LowPoly", "Geometry", "Sketch")
    ),
    "polygon_type": Option(field="PolygonType", kind="text", choices=("triangle", "quadrilateral")),
    "multi_view_images": Option(
        field="MultiViewImages",
        kind="objects",
        members={"view_type": None, "view_image_url": None, "view_image_base64": None},
    ),
}


def _pro(name: str, version: str, *aliases: str) -> Model:
    return Model(
        name=name,
        aliases=aliases,
        submit="SubmitHunyuanTo3DProJob",
        query="QueryHunyuanTo3DProJob",
        answer="files",
        fields={"prompt": "Prompt"},
        constants={"Model": version},
        options=_PRO_OPTIONS,
        references=_REFERENCE,
        max_prompt=1024,
        max_jobs=3,
        submit_rate=20.0,
        poll_rate=20.0,
        url_ttl_s=_DAY_S,
    )


AI3D = Dialect(
    name="ai3d",
    kind="model3d",
    host="ai3d.tencentcloudapi.com",
    signed=True,
    service="ai3d",
    version="2025-05-13",
    words=_WORDS,
    models=(
        _pro("hunyuan-3d-pro", "3.0", "pro", "pro-3.0", "hunyuan-3d-3.0"),
        _pro("hunyuan-3d-pro-3.1", "3.1", "pro-3.1", "hunyuan-3d-3.1"),
        Model(
            name="hunyuan-3d-rapid",
            aliases=("rapid",),
            submit="SubmitHunyuanTo3DRapidJob",
            query="QueryHunyuanTo3DRapidJob",
            answer="files",
            fields={"prompt": "Prompt"},
            options={
                **_PBR,
                **_format("OBJ", "GLB", "STL", "USDZ", "FBX", "MP4"),
                "enable_geometry": Option(field="EnableGeometry", kind="bool"),
            },
            references=_REFERENCE,
            max_prompt=200,
            max_jobs=1,
            submit_rate=20.0,
            poll_rate=20.0,
            url_ttl_s=_DAY_S,
        ),
    ),
)
