"""The rewriter that puts prompts together from a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError, RewriteError
from holodeck_gen_plugins._extras import missing

if TYPE_CHECKING:
    import jinja2

#: Fields of a task that a template can use, beside its metadata.
FIELDS = ("prompt", "id", "kind", "model", "seed", "n", "negative_prompt", "style", "affinity")


@attrs.frozen(kw_only=True)
class TemplateOptions:
    """Options of the template rewriter. All of them are Jinja2 templates.

    Attributes:
        template: Makes the prompt.
        prefix: Is put before that.
        suffix: Is put behind it.
        negative_prompt: Makes the negative prompt; left as it is where this is empty.
        styles: Snippets by name, to be used as {{ styles.NAME }}, or by whatever a field says as
            {{ styles[style] }}.
    """

    template: str = "{{ prompt }}"
    prefix: str = ""
    suffix: str = ""
    negative_prompt: str = ""
    styles: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Template:
    """Writes prompts anew. What a template asks for and the task does not have is an error."""

    prompt: jinja2.Template
    negative_prompt: jinja2.Template | None
    styles: Mapping[str, jinja2.Template]

    async def rewrite(self, task: hg.Task) -> hg.Task:
        """The task with its new prompt. As `holodeck_gen.Rewriter`.

        Raises:
            RewriteError: A field is missing, or the prompt comes out empty.
        """
        values = fields_of(task)
        try:
            values["styles"] = _Styles(self.styles, values)
            prompt, negative = self.prompt.render(values), task.negative_prompt
            if self.negative_prompt is not None:
                negative = self.negative_prompt.render(values)
            return attrs.evolve(task, prompt=prompt, negative_prompt=negative)
        except Exception as error:
            # A template is a program; whatever goes wrong in it concerns this task.
            raise RewriteError(
                f"the template cannot be filled in: {str(error) or type(error).__name__}",
                stage="template",
            ) from error


class _Styles(Mapping[str, str]):
    """Snippets that are filled in when they are used: others may want fields the task lacks."""

    def __init__(self, snippets: Mapping[str, jinja2.Template], values: Mapping[str, Any]) -> None:
        self._snippets = snippets
        # A snippet has the task's fields, and no other snippets that could name it in turn.
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._snippets[name].render(self._values)

    def __iter__(self) -> Any:
        return iter(self._snippets)

    def __len__(self) -> int:
        return len(self._snippets)


def fields_of(task: hg.Task) -> dict[str, Any]:
    """What a template knows of a task: metadata by name, and above it the fields that are set."""
    fields = {name: getattr(task, name) for name in FIELDS}
    if task.size is not None:
        fields |= {"width": task.size[0], "height": task.size[1]}
    return {**task.metadata, **{name: value for name, value in fields.items() if value is not None}}


def make_template(options: TemplateOptions | None, _ctx: hg.Context) -> Template:
    """The factory.

    Raises:
        PluginLoadError: Jinja2 is not installed.
        ConfigError: Something is no template.
    """
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise missing("template", "jinja2") from error
    options = options or TemplateOptions()
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=False
    )
    # Whether a template can be filled in must depend on the task alone.
    environment.globals.clear()

    def parsed(name: str, text: str) -> jinja2.Template:
        try:
            return environment.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"template: {name}: {error}") from error

    whole = options.prefix + options.template + options.suffix
    negative = options.negative_prompt
    return Template(
        prompt=parsed("prefix, template and suffix", whole),
        negative_prompt=parsed("negative_prompt", negative) if negative else None,
        styles={name: parsed(f"styles.{name}", text) for name, text in options.styles.items()},
    )


@hg.hookimpl
def register_rewriters(register: hg.Register) -> None:
    """Register the rewriter."""
    register(
        "template",
        make_template,
        options=TemplateOptions,
        summary="Puts prompts together from a template and snippets.",
    )
