"""What a run's folder remembers of earlier runs, as far as the command tells and repairs it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._journal.audit import reading
from holodeck_gen._journal.evidence import RESULTS, last_lines
from holodeck_gen._journal.match import Match, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holodeck_gen._cli._where import Where
    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._model.task import Task
    from holodeck_gen._taskfile.taskfile import Line

#: Outcomes that may be missing from the results when a process dies: more than wait for their
#: line at any time.
_UNWRITTEN = 4096
#: Bytes at the end of the results in which as many lines are looked for.
_TAIL = 1 << 24


@attrs.define(kw_only=True)
class History:
    """Earlier runs' journal.

    Attributes:
        journal: Its file; None where there is none, or where it does not count.
        results: Its lines for people.
        found: How many lines of the input it knows, by how they match.
        epoch: How often it was owned before.
    """

    journal: Path | None
    results: Path
    found: Counter[Match] = attrs.field(factory=Counter)
    epoch: int = 0

    @classmethod
    def of(cls, where: Where, *, resume: str) -> History:
        """The history of a run in its places.

        Raises:
            JournalError: There is a journal and it cannot be read.
        """
        path, results = where.journal, where.folder / RESULTS
        if resume == "never" or path is None or not path.is_file() or not path.stat().st_size:
            return cls(journal=None, results=results)
        with reading(path) as rows:
            return cls(journal=path, results=results, epoch=rows.meta("epoch") or 0)

    def matched(self, lines: Iterable[Line], *, expanded: bool) -> Iterator[Line]:
        """Pass on `lines` while counting how the journal knows them.

        Args:
            lines: Of the input.
            expanded: Whether expanders make other tasks of them; then all counts as theirs.

        Raises:
            JournalError: It cannot be read.
        """
        if self.journal is None:
            yield from lines
            return
        with reading(self.journal) as rows:
            if expanded:
                self.found.update({"done": rows.counts().get("done", 0)})
                yield from lines
                return
            matcher = Matcher(rows)
            for line in lines:
                if line.task is not None:
                    self.found[matcher.match(line.task)] += 1
                yield line

    def renew(self, read: Callable[[], Iterator[Line]], *, expanded: bool) -> None:
        """Count again, now that the journal is owned, if somebody worked in between.

        Raises:
            JournalError: It cannot be read.
        """
        if self.journal is None:
            return
        with reading(self.journal) as rows:
            mine: int = rows.meta("epoch")
        if mine > self.epoch + 1:
            self.found.clear()
            for _ in self.matched(read(), expanded=expanded):
                pass

    def missing_results(self) -> list[Outcome]:
        """Outcomes that the journal knows and a process died before it had written, in order."""
        if self.journal is None:
            return []
        # The newest line counts: before it was done, a task may have had one that it was held.
        told: dict[Any, Any] = {}
        for line in last_lines(self.results, _TAIL):
            # Text, because people edit this file.
            told.setdefault(str(line.get("key")), line.get("status"))
        whole = self.results.exists() and self.results.stat().st_size <= _TAIL
        limit = _UNWRITTEN if whole or not told else min(_UNWRITTEN, len(told) // 2)
        with reading(self.journal) as rows:
            keys = rows.connection.execute(
                "SELECT key, state FROM tasks WHERE ended_at IS NOT NULL AND state <> 'replaced'"
                " ORDER BY ended_at DESC, number DESC LIMIT ?",
                (limit,),
            ).fetchall()
            missing = [rows.entry(key) for key, state in reversed(keys) if told.get(key) != state]
            return [rows.outcome(entry) for entry in missing if entry is not None]


def unfinished(journal: Path) -> Iterator[tuple[str, Task]]:
    """Key and task of everything in `journal` that failed or is held, in order.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        for entry in rows.unfinished():
            states = {part.state for part in entry.parts.values()}
            if entry.state == "failed" or (entry.state == "open" and "uncertain" in states):
                yield entry.key, entry.task
