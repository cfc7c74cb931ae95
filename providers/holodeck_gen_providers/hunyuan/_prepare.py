"""From a task to a request in a dialect's own words; every check is made here, before any cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import InvalidTaskError
from holodeck_gen_providers.hunyuan._options import wire_options
from holodeck_gen_providers.hunyuan._references import note
from holodeck_gen_providers.hunyuan._services import STYLES
from holodeck_gen_providers.hunyuan._sizes import nearest_sizes
from holodeck_gen_providers.hunyuan._tables import Dialect, Model

if TYPE_CHECKING:
    from collections.abc import Iterable

CURRENCY = "CNY"


def choose_model(
    name: str | None, dialect: Dialect, default: Model, others: Iterable[Dialect]
) -> Model:
    """The row of a model's name.

    Raises:
        InvalidTaskError: The dialect has none; says which one does.
    """
    if name is None:
        return default
    if (model := dialect.model(name)) is not None:
        return model
    elsewhere = [each.name for each in others if each.model(name) is not None]
    hint = (
        f"; it is served by dialect {' or '.join(elsewhere)}"
        if elsewhere
        else hg.did_you_mean(name, dialect.names)
    )
    raise InvalidTaskError(f"dialect {dialect.name} has no model {name!r}{hint}")


def prepare(task: hg.Task, dialect: Dialect, model: Model) -> hg.Prepared:
    """Translate `task` for `model`.

    Raises:
        InvalidTaskError: The model cannot do what is asked.
    """
    return _Translation(task=task, dialect=dialect, model=model).prepared()


@attrs.define(kw_only=True)
class _Translation:
    """One task on its way into the words of one model."""

    task: hg.Task
    dialect: Dialect
    model: Model
    body: dict[str, Any] = attrs.field(factory=dict)
    warnings: list[str] = attrs.field(factory=list)

    def prepared(self) -> hg.Prepared:
        if self.task.kind != self.dialect.kind:
            raise InvalidTaskError(
                f"{self.model.name} makes {self.dialect.kind}, not {self.task.kind}"
            )
        self._check_references()
        self._put_prompt()
        self._put_common("negative_prompt", self.task.negative_prompt)
        self._put_common("style", self._style())
        self._put_size()
        options = wire_options(self.task.provider_options, self.model, pascal=self.dialect.signed)
        rewriting = self._rewriting(options)
        seed = self._put_seed(rewriting)
        # A job draws its pictures from one seed in a way of its own; one picture a job keeps
        # the promise that picture i is that of seed + i.
        per_job = 1 if seed is not None else self.model.per_job
        count = min(self.task.n, per_job)
        if count > 1:
            self.body[self.model.fields["n"]] = count
        body = {**self.model.constants, **self.body, **options}
        if not self.dialect.signed:
            body = {"model": self.model.name, **body}
        state = {
            "model": self.model.name,
            "seed": seed,
            "format": self.task.provider_options.get("result_format"),
        }
        return hg.Prepared(
            request={
                "dialect": self.dialect.name,
                "body": body,
                "references": [note(each, self.model) for each in self.task.inputs],
                "state": {name: value for name, value in state.items() if value is not None},
            },
            warnings=tuple(self.warnings),
            seed_effective=seed is not None,
            per_job=per_job,
            estimate=self._estimate(count),
            model=self.model.name,
        )

    def _put_prompt(self) -> None:
        prompt, references = self.task.prompt, self.model.references
        manner = str(self.task.provider_options.get("generate_type") or "")
        alone = references is not None and "prompt" in references.excludes
        if self.task.inputs and alone:
            if prompt.strip() and manner.casefold() != "sketch":
                raise InvalidTaskError(
                    f"{self.model.name} takes a prompt or a picture, not both"
                    " (but with generate_type=Sketch)"
                )
        elif not prompt.strip():
            raise InvalidTaskError(f"{self.model.name} needs a prompt, also beside a picture")
        self._check_length("prompt", prompt)
        if references is not None and references.form == "messages":
            content = [{"type": "text", "text": prompt}]
            self.body["messages"] = [{"role": "user", "content": content}]
        elif prompt.strip():
            self.body[self.model.fields["prompt"]] = prompt

    def _put_common(self, word: str, value: str | None) -> None:
        if value is None:
            return
        if word not in self.model.fields:
            raise self._cannot(word.replace("_", " "))
        self._check_length(word, value)
        self.body[self.model.fields[word]] = value

    def _style(self) -> str | None:
        style = self.task.style
        if style is None:
            return None
        if "style" not in self.model.fields:
            words = STYLES.get(style, style)
            raise InvalidTaskError(
                f"{self.model.name} has no styles; say it in the prompt, such as {words!r}"
            )
        codes = {**{words: code for code, words in STYLES.items()}, **{c: c for c in STYLES}}
        known = self.model.styles
        code = style if style in known else codes.get(style, style)
        if known and code not in known:
            raise InvalidTaskError(
                f"{self.model.name} has no style {style!r}{hg.did_you_mean(style, known)}"
            )
        return code

    def _put_size(self) -> None:
        size, sizes = self.task.size, self.model.sizes
        if size is None:
            return
        if sizes is None or "size" not in self.model.fields:
            raise self._cannot("size")
        if not sizes.allows(size, with_images=bool(self.task.inputs)):
            listed = (sizes.with_images if self.task.inputs else ()) or sizes.allowed
            near = nearest_sizes(size, listed or sizes.suggested)
            beside = " beside a reference picture" if self.task.inputs and sizes.with_images else ""
            bounds = (
                ""
                if listed
                else f" ({sizes.min_side} to {sizes.max_side} a side,"
                f" at most {sizes.max_area} pixels in all)"
            )
            raise InvalidTaskError(
                f"{self.model.name} makes no {size[0]}x{size[1]}{beside}{bounds};"
                f" nearest: {', '.join(near)}"
            )
        references = self.model.references
        if self.task.inputs and references is not None and references.sets_size:
            self.warnings.append(
                "beside a reference picture the size is only a hint: the result follows its shape"
            )
        self.body[self.model.fields["size"]] = f"{size[0]}{sizes.separator}{size[1]}"

    def _check_references(self) -> None:
        inputs, references = self.task.inputs, self.model.references
        if not inputs:
            return
        if references is None:
            raise self._cannot("reference pictures")
        if len(inputs) > references.most:
            raise InvalidTaskError(
                f"{self.model.name} takes {references.most} reference picture(s), not {len(inputs)}"
            )
        for word in ("style", "size"):
            if word in references.excludes and getattr(self.task, word) is not None:
                raise InvalidTaskError(
                    f"{self.model.name} takes no {word} beside a reference picture"
                )

    def _rewriting(self, options: dict[str, Any]) -> bool:
        """Whether the service will rewrite the prompt; decides it where only that is sensible."""
        option = self.model.options.get("revise")
        if option is None:
            return self.model.rewrites
        asked = options.get(option.field)
        references = self.model.references
        if self.task.inputs and references is not None and references.forces_rewrite:
            if asked == 0:
                raise InvalidTaskError(
                    f"{self.model.name} always rewrites the prompt beside a reference picture;"
                    " revise=false is not possible"
                )
            return True
        if asked is not None:
            return bool(asked)
        if self.task.seed is not None and self.model.rewrites:
            # Somebody who gives a seed wants to get the same again, which a rewrite prevents.
            options[option.field] = False if option.kind == "bool" else 0
            self.warnings.append(
                "revise is off, because a seed has no effect on a rewritten prompt;"
                " revise=true turns it on"
            )
            return False
        return self.model.rewrites

    def _put_seed(self, rewriting: bool) -> int | None:
        """Check and put the seed; returns it where it has an effect."""
        seed = self.task.seed
        if seed is None:
            return None
        if "seed" not in self.model.fields:
            raise self._cannot("seed")
        last = seed + self.task.n - 1
        if not 1 <= seed <= last <= self.model.max_seed:
            raise InvalidTaskError(
                f"{self.model.name} takes seeds from 1 to {self.model.max_seed}, not"
                f" {seed if seed < 1 else last}"
            )
        self.body[self.model.fields["seed"]] = seed
        if rewriting:
            self.warnings.append("the seed has no effect, because the prompt is rewritten")
            return None
        return seed

    def _check_length(self, word: str, value: str) -> None:
        most = self.model.max_prompt
        if most is not None and len(value) > most:
            raise InvalidTaskError(
                f"the {word} has {len(value)} characters; {self.model.name} takes {most}"
            )

    def _estimate(self, count: int) -> hg.Cost | None:
        price = self.model.price
        return None if price is None else hg.Cost(amount=price * count, currency=CURRENCY)

    def _cannot(self, what: str) -> InvalidTaskError:
        return InvalidTaskError(f"{self.model.name} of dialect {self.dialect.name} takes no {what}")
