"""What a worker process does: makes the processors it is told of, then calls them."""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import structlog

from holodeck_gen._stages.portable import Failed, failed, passes
from holodeck_gen._stages.stages import processed
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from holodeck_gen._config.config import Config
    from holodeck_gen._stages.stages import Processor


@attrs.frozen(kw_only=True)
class Recipe:
    """How a worker makes its processors: by their names, as its parent did.

    Attributes:
        names: Of the processors.
        given: What the command line says of settings. The worker reads the rest where the parent
            did, from files and variables, so that no secret of these has to be sent.
        expected: What the parent found there, as it may be shown.
    """

    names: tuple[str, ...]
    given: Mapping[str, Any] = attrs.field(repr=False)
    expected: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, names: tuple[str, ...], given: Mapping[str, Any], config: Config) -> Recipe:
        """The one by which others make what `config` means by `names`."""
        tables = {"stages": given["stages"]} if "stages" in given else {}
        return cls(names=names, given=tables, expected=shown(config, names))


@attrs.frozen(kw_only=True)
class Ready:
    """The processors are made."""


@attrs.frozen(kw_only=True)
class Logged:
    """An event of the log, to be told by the parent as its own. Attributes as structlog's."""

    logger: str
    method: str
    event: str
    facts: Mapping[str, Any]
    error: Failed | None


@attrs.frozen(kw_only=True)
class Done:
    """What a processor returned."""

    files: list[Path]


def shown(config: Config, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The settings of the stages `names`, without what is secret."""
    from holodeck_gen._config.config import fold

    tables = tuple(fold(f"stages.{name}.") for name in names)
    return tuple(
        (setting.key, repr(setting.value))
        for setting in config.settings()
        if fold(setting.key).startswith(tables)
    )


def serve(pipe: Connection, recipe: Recipe) -> None:
    """Answer calls until the other end of `pipe` says that there are no more, or is gone."""
    # They reach every process of a terminal or service, but what is begun may finish. The parent
    # says when to end.
    deaf = {signal.SIGINT, signal.SIGTERM}
    for name in deaf:
        signal.signal(name, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        # The parent had them wait until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, deaf)
    parent = _Parent(pipe)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, parent.tell],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=lambda name="": name,
    )
    # A thread of its own, so that the end of the parent is seen also during a call.
    threading.Thread(target=parent.listen, daemon=True).start()
    asyncio.run(_work(parent, recipe))


@attrs.define(eq=False)
class _Parent:
    """The process that wants something done."""

    pipe: Connection
    #: A name and what its processor is called with; None at the end.
    calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = attrs.field(
        factory=queue.SimpleQueue, init=False
    )
    _sending: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def send(self, message: Ready | Logged | Done | Failed) -> None:
        """Say something; ends the process where nobody is there to hear it."""
        data = pickle.dumps(message)
        try:
            with self._sending:
                self.pipe.send_bytes(data)
        except OSError:
            os._exit(1)

    def listen(self) -> None:
        """Take calls for as long as the parent is there; then end the process."""
        while True:
            try:
                self.calls.put(self.pipe.recv())
            except (EOFError, OSError):
                # Nothing is to be tidied up: the folder of a call belongs to the next run.
                os._exit(1)

    def tell(self, logger: Any, method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """structlog processor: the parent logs it, as it was told to and in its own place."""
        facts = dict(event)
        error = facts.pop("exc_info", None)
        error = error[1] if isinstance(error, tuple) else error
        self.send(
            Logged(
                logger=str(logger),
                method=method,
                event=str(facts.pop("event", "")),
                facts={
                    str(name): value if passes(value) else repr(value)
                    for name, value in facts.items()
                },
                error=failed(error) if isinstance(error, Exception) else None,
            )
        )
        raise structlog.DropEvent


async def _work(parent: _Parent, recipe: Recipe) -> None:
    from holodeck_gen._config.config import Config
    from holodeck_gen._http.clients import Clients
    from holodeck_gen._plugins.registry import Registry
    from holodeck_gen._plugins.resolve import Maker, Resolver

    clients = Clients()
    try:
        config = Config.load(recipe.given)
        if shown(config, recipe.names) != recipe.expected:
            raise ConfigError(
                "the settings of its stages have changed since the run began; begin it again"
            )
        resolved = Resolver(registry=Registry(), config=config).stages("processor", recipe.names)
        maker = Maker(http=clients.api, environ=config.environ, wall_clock=time.time)
        processors: dict[str, Processor] = dict(maker.stages(resolved))
    except Exception as error:
        parent.send(failed(error))
        return
    parent.send(Ready())
    while (call := await asyncio.to_thread(parent.calls.get)) is not None:
        name, args = call
        parent.send(await asyncio.to_thread(_called, processors[name], args))
    await maker.aclose()
    await clients.aclose()


def _called(processor: Processor, args: tuple[Any, ...]) -> Done | Failed:
    try:
        return Done(files=processed(processor, *args))
    except Exception as error:
        return failed(error)
