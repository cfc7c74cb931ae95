"""Where a run's pictures go, and where it is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from holodeck_gen._journal import audit
from holodeck_gen._journal.file import JOURNAL
from holodeck_gen._journal.place import journal_of, left_behind, remote_folder
from holodeck_gen._model.remote import canonical, is_remote, lasts
from holodeck_gen.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._config.config import Config


@attrs.frozen(kw_only=True)
class Where:
    """The places of a run.

    Attributes:
        output: The folder or address of its pictures.
        folder: Holds ``results.jsonl`` and ``failed.jsonl``, and the journal where it has one
            that is found again.
        journal: That journal's file, which need not be there yet.
    """

    output: str
    folder: Path
    journal: Path | None

    @classmethod
    def of(cls, config: Config) -> Where:
        """What the settings say.

        Raises:
            click.UsageError: No output is known.
            ConfigError: The output is an address that cannot be a run's.
        """
        output = config.get("output")
        if output is None:
            raise click.UsageError("say where the pictures go: -o OUT")
        remote = is_remote(output)
        if remote:
            output = canonical(output)
            if not lasts(output):
                raise ConfigError(
                    f"{output} is gone when this process ends: its pictures would be lost, and the"
                    " run could not go on; give a folder, or s3://…, gs://…, az://…"
                )
        journal = journal_of(config.get("journal", "automatic"), output)
        own = remote_folder(output) if remote else Path(output)
        # Several journals may share a folder, but then not the results.
        beside = journal is not None and (remote or journal.name == JOURNAL)
        elsewhere = beside and journal is not None and journal.parent != own.absolute()
        return cls(
            output=output,
            folder=journal.parent if journal is not None and elsewhere else own,
            journal=journal,
        )

    def told(self, store: str | None) -> str | None:
        """A line for the user where pictures and journal are apart.

        Args:
            store: Where pictures are kept, in the store's words, if it has any.
        """
        if store is None and not is_remote(self.output) and self.folder == Path(self.output):
            return None
        what = "results" if self.journal is None else "journal and results"
        return f"pictures go to {store or self.output} · {what} are in {self.folder}"


def journals(out: str | None, config: Config) -> Sequence[Path]:
    """The journals that are meant by OUT: a run's folder or address, or a journal's file.

    Raises:
        ConfigError: OUT has none.
    """
    choice = config.get("journal", "automatic")
    if out is None:
        own = journal_of(choice, config.get("output"))
        return [own] if own is not None and own.is_file() else _unfinished()
    found = remote_folder(out) / JOURNAL if is_remote(out) else Path(out)
    found = found / JOURNAL if found.is_dir() else found
    if found.is_file():
        return [found]
    kept = journal_of(choice, out)
    if kept is not None and kept.is_file() and _is_of(kept, out):
        return [kept]
    where = f"{out} (looked for in {found.parent})" if is_remote(out) else out
    other = "; if it was run with --journal FOLDER, name that folder" if is_remote(out) else ""
    raise ConfigError(f"{where} has no {JOURNAL}: nothing was run there{other}")


def _is_of(journal: Path, out: str) -> bool:
    """Whether a journal that lies elsewhere is that of the files in `out`."""
    output = audit.output_of(journal)
    if is_remote(out):
        return output == canonical(out)
    return not is_remote(output) and Path(output).resolve() == Path(out).resolve()


def _unfinished() -> list[Path]:
    """What single invocations have left, and the runs to addresses that are not finished."""
    found = []
    for journal in left_behind():
        try:
            with audit.reading(journal) as rows:
                if not rows.finished() or journal.parent.parent.name != "remote":
                    found.append(journal)
        except JournalError:
            # Whoever looks is told what is wrong with it.
            found.append(journal)
    return found
