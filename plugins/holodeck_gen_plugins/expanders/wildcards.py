"""The expander that makes variants of a prompt: ``{a|b}`` and words from files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError, RewriteError
from holodeck_gen_plugins._extras import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamicprompts.wildcards import WildcardManager
    from dynamicprompts.wildcards.values import WildcardValues

_PATTERN = re.compile(r"[{}$]|__")
#: What dynamicprompts takes for the beginning of a comment, and what stands for it meanwhile.
_COMMENTS = {"#": "\ue000", "//": "\ue001", "/*": "\ue002"}
#: Draws for each variant that is wanted, to find that many different ones.
_DRAWS = 8


@attrs.frozen(kw_only=True)
class WildcardsOptions:
    """Options of the expander.

    Attributes:
        folder: Where __NAME__ is looked for, as NAME.txt with one choice a line.
        variants: How many different prompts are drawn for each task; 0 makes all there are.
        most: How many all may be.
        seed: Draws other variants.
    """

    folder: str | None = None
    variants: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    most: int = attrs.field(default=1000, validator=attrs.validators.ge(1))
    seed: int = 0


@attrs.frozen
class Wildcards:
    """Makes variants. The same task with the same options has the same ones, in any run."""

    options: WildcardsOptions
    words: WildcardManager

    def expand(self, task: hg.Task) -> Iterator[hg.Task]:
        """The variants, or the task itself where its prompt has no pattern.

        As `holodeck_gen.Expander`.

        Raises:
            RewriteError: The prompt's pattern is wrong, or has too many variants.
        """
        if not _PATTERN.search(task.prompt):
            yield task
            return
        for prompt in self._prompts(task):
            yield attrs.evolve(task, prompt=prompt)

    def _prompts(self, task: hg.Task) -> list[str]:
        pattern = task.prompt
        for comment, stand_in in _COMMENTS.items():
            pattern = pattern.replace(comment, stand_in)
        try:
            found = self._drawn(pattern, task) if self.options.variants else self._all(pattern)
            if any("{" in prompt or "}" in prompt for prompt in found):
                raise ValueError("a brace has no other one")
        except RewriteError:
            raise
        except Exception as error:
            # Several kinds, by what is wrong; all of them are about this prompt.
            raise RewriteError(
                f"the prompt's pattern cannot be used: {str(error) or type(error).__name__}",
                stage="wildcards",
            ) from error
        return [_restored(prompt) for prompt in found]

    def _all(self, pattern: str) -> list[str]:
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext

        context = SamplingContext(SamplingMethod.COMBINATORIAL, self.words)
        found = [str(each) for each in context.sample_prompts(pattern, self.options.most + 1)]
        if len(found) > self.options.most:
            raise RewriteError(
                f"the prompt has more than {self.options.most} variants; raise 'most', or draw"
                " some of them with 'variants'",
                stage="wildcards",
            )
        return list(dict.fromkeys(found))

    def _drawn(self, pattern: str, task: hg.Task) -> list[str]:
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext

        chance = Random()
        context = SamplingContext(SamplingMethod.RANDOM, self.words, rand=chance)
        draws = self.options.variants * _DRAWS
        found: dict[str, None] = {}
        # Each draw has its own seed, so that more variants begin with the fewer.
        drawn = iter(context.sample_prompts(pattern, draws))
        for number in range(draws):
            chance.seed(self._seed(task, number))
            found[str(next(drawn))] = None
            if len(found) == self.options.variants:
                break
        return list(found)

    def _seed(self, task: hg.Task, number: int) -> int:
        """From what tells one task from another."""
        what = [self.options.seed, task.seed, task.id or task.prompt, number]
        digest = hashlib.sha256(json.dumps(what).encode()).digest()
        return int.from_bytes(digest[:8])


def _restored(prompt: str) -> str:
    for comment, stand_in in _COMMENTS.items():
        prompt = prompt.replace(stand_in, comment)
    return prompt.strip()


def make_wildcards(options: WildcardsOptions | None, _ctx: hg.Context) -> Wildcards:
    """The factory.

    Raises:
        PluginLoadError: dynamicprompts is not installed.
        ConfigError: The folder is not there.
    """
    try:
        from dynamicprompts.wildcards import WildcardManager
    except ImportError as error:
        raise missing("wildcards", "dynamicprompts") from error

    class Words(WildcardManager):
        """Words from files; a name without a file is an error and not itself the word."""

        def get_values(self, wildcard: str) -> WildcardValues:
            values = super().get_values(wildcard)
            if not values:
                raise LookupError(f"there are no words for __{wildcard}__")
            return values

    options = options or WildcardsOptions()
    folder = None if options.folder is None else Path(options.folder).expanduser()
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"wildcards: {folder} is not a folder")
    return Wildcards(options, Words(folder))


@hg.hookimpl
def register_expanders(register: hg.Register) -> None:
    """Register the expander."""
    register(
        "wildcards",
        make_wildcards,
        options=WildcardsOptions,
        summary="Makes variants of a prompt: {a|b}, and words from files.",
    )
