"""The form of the service tables: what has to be known of a dialect and of each of its models."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import attrs
from immutabledict import immutabledict

Size: TypeAlias = tuple[int, int]
Phase: TypeAlias = Literal["queued", "running", "done", "failed"]

#: Of the mark that the service draws into a corner, in snake case.
LOGO_MEMBERS = {
    "logo_url": None,
    "logo_image": None,
    "logo_rect": {"x": None, "y": None, "width": None, "height": None},
}
#: Of reference pictures, where a model takes more than the usual two types.
MORE_TYPES = ("image/png", "image/jpeg", "image/bmp", "image/tiff", "image/webp")


def _frozen_map(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return immutabledict(value)


@attrs.frozen(kw_only=True)
class Sizes:
    """Which sizes a model makes, in pixels.

    Attributes:
        separator: Between width and height on the wire.
        allowed: Only these, where any are listed.
        suggested: Named in errors where any size within the bounds goes.
        min_side: Of either side.
        max_side: Of either side.
        max_area: Width × height.
        with_images: Only these where a reference picture is given, if any are listed.
    """

    separator: Literal[":", "x"] = ":"
    allowed: tuple[Size, ...] = ()
    suggested: tuple[Size, ...] = ()
    min_side: int = 1
    max_side: int = 65_535
    max_area: int = 2**28
    with_images: tuple[Size, ...] = ()

    def allows(self, size: Size, *, with_images: bool = False) -> bool:
        """Whether the model makes pictures of `size`."""
        width, height = size
        if listed := (self.with_images if with_images else ()) or self.allowed:
            return size in listed
        sides_fit = self.min_side <= min(size) and max(size) <= self.max_side
        return sides_fit and width * height <= self.max_area


@attrs.frozen(kw_only=True)
class References:
    """How a model takes reference pictures.

    Attributes:
        form: ``object``: an object with a URL or base64 member; ``texts``: a list of URLs and
            base64 texts; ``data_urls``: a list of URLs and ``data:`` URLs; ``messages``: parts
            of a chat message; ``members``: two fields of the request itself.
        field: The field's name, where there is one.
        url: The member for a URL, where the form has one.
        base64: The member for base64, where the form has one.
        most: How many.
        max_bytes: Of one file, before base64 makes it a third longer.
        media_types: Of files.
        min_side: Pixels.
        max_side: Pixels.
        excludes: Common words that have no place beside a reference picture.
        sets_size: Whether the result follows the picture's shape rather than the size asked for.
        forces_rewrite: Whether the prompt is always rewritten where one is given.
    """

    form: Literal["object", "texts", "data_urls", "messages", "members"]
    field: str = ""
    url: str = ""
    base64: str = ""
    most: int = 1
    max_bytes: int
    media_types: tuple[str, ...] = ("image/png", "image/jpeg")
    min_side: int = 1
    max_side: int = 65_535
    excludes: tuple[str, ...] = ()
    sets_size: bool = False
    forces_rewrite: bool = False


@attrs.frozen(kw_only=True)
class Option:
    """One entry of ``provider_options``.

    Attributes:
        field: Its name on the wire.
        kind: ``flag`` is true or false for users and 1 or 0 on the wire; ``object`` is written
            in snake case by users whatever the wire wants.
        choices: Of text.
        minimum: Of numbers.
        maximum: Of numbers; of text, its length.
        members: Of an object, in snake case; nested ones are objects of the same form.
    """

    field: str
    kind: Literal["flag", "bool", "integer", "text", "object", "objects"]
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = None
    members: Mapping[str, Any] = attrs.field(default=immutabledict(), converter=_frozen_map)


@attrs.frozen(kw_only=True)
class Model:
    """One row: what a user may choose, and the action that serves it.

    Attributes:
        name: As in ``Task.model`` and results.
        aliases: Other names of it, old ones among them.
        submit: The action's name, or the path of its endpoint.
        query: The same for asking after a job; None where the answer comes at once.
        answer: Where the pictures are in the answer.
        fields: The wire's names of the common words: ``prompt``, ``negative_prompt``,
            ``style``, ``size``, ``seed``, ``n``. What is missing cannot be asked for.
        constants: Fields that always have the same value.
        options: By their name for users.
        references: None where the model takes no pictures.
        sizes: None where no size can be chosen.
        styles: Codes of styles. Empty with a ``style`` field: any text.
        max_prompt: Characters.
        max_seed: The least is 1.
        per_job: Pictures of one job.
        rewrites: Whether the service rewrites the prompt unless told not to; a seed has no
            effect then.
        max_jobs: Jobs at once of one account; None where it is not documented.
        submit_rate: Submits a second of one account and region.
        poll_rate: Queries a second of one account and region.
        url_ttl_s: Seconds for which result URLs work.
        price: Of one picture, in CNY, where it is published; never less than what is charged.
    """

    name: str
    aliases: tuple[str, ...] = ()
    submit: str
    query: str | None = None
    answer: Literal["pictures", "data", "choices", "files"]
    fields: Mapping[str, str] = attrs.field(converter=_frozen_map)
    constants: Mapping[str, Any] = attrs.field(default=immutabledict(), converter=_frozen_map)
    options: Mapping[str, Option] = attrs.field(default=immutabledict(), converter=_frozen_map)
    references: References | None = None
    sizes: Sizes | None = None
    styles: tuple[str, ...] = ()
    max_prompt: int | None = None
    max_seed: int = 2**32 - 1
    per_job: int = 1
    rewrites: bool = False
    max_jobs: int | None = None
    submit_rate: float | None = None
    poll_rate: float | None = None
    url_ttl_s: float
    price: Decimal | None = None

    @property
    def direct(self) -> bool:
        """Whether the answer comes at once, so that there is no job to ask after."""
        return self.query is None


@attrs.frozen(kw_only=True)
class Words:
    """A dialect's vocabulary for jobs.

    Attributes:
        job_id: The field of a submit's answer, and of a query, that names the job.
        status: The field that says how the job is doing.
        phases: What its values mean.
        error_code: Path to the code of a failed job.
        error_message: Path to its message.
    """

    job_id: str
    status: str
    phases: Mapping[str, Phase] = attrs.field(converter=_frozen_map)
    error_code: str
    error_message: str


@attrs.frozen(kw_only=True)
class Dialect:
    """One family of the service.

    Attributes:
        name: As in the ``dialect`` option.
        kind: Of the tasks that it serves.
        host: Where, unless an endpoint is given.
        signed: True for TC3 signatures, false for bearer keys.
        service: In the credential scope: the first label of the host.
        version: Of the API, where it has one.
        words: For jobs.
        models: The first is the default.
        regions: Of the access domain; empty where any may be tried.
        retired: What is known of its end; empty where it goes on.
    """

    name: str
    kind: str = "image"
    host: str
    signed: bool
    service: str = ""
    version: str = ""
    words: Words
    models: tuple[Model, ...]
    regions: tuple[str, ...] = ()
    retired: str = ""

    def model(self, name: str | None) -> Model | None:
        """The row of `name` or one of its aliases, in any case; None where there is none."""
        if name is None:
            return self.models[0]
        folded = name.casefold()
        for model in self.models:
            if folded in (model.name.casefold(), *(alias.casefold() for alias in model.aliases)):
                return model
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models and their aliases."""
        return tuple(name for model in self.models for name in (model.name, *model.aliases))
