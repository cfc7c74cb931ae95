"""Errors in a form that passes to another process, whatever they are."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Failed:
    """What was raised, in parts that can be sent.

    Attributes:
        make: Called with `args`, makes the like of it.
        state: Its attributes, as far as they pass.
        trace: Where it was raised.
    """

    make: Callable[..., Exception]
    args: tuple[Any, ...]
    state: Mapping[str, Any]
    trace: str

    def error(self) -> Exception:
        """One of the same class and message; where the class cannot pass, of its next base."""
        error = self.make(*self.args)
        vars(error).update(self.state)
        error.__cause__ = InWorker(self.trace)
        return error


class InWorker(Exception):
    """Stands for the traceback in the worker; the cause of what is raised in the parent."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def failed(error: Exception) -> Failed:
    """What is to be sent of `error`."""
    trace = "".join(traceback.format_exception(error))
    state = {name: value for name, value in vars(error).items() if passes(value)}
    text = str(error)
    # Itself; else without its `__init__`, which may want more; else what its class derives from.
    own: list[tuple[Callable[..., Exception], tuple[Any, ...]]] = [(_same, (error,))]
    own += [(_bare, (type(error), error.args))]
    own += [(_bare, (cls, (text,))) for cls in type(error).__mro__ if issubclass(cls, Exception)]
    for make, args in own:
        like = Failed(make=make, args=args, state=state, trace=trace)
        with contextlib.suppress(Exception):
            if str(pickle.loads(pickle.dumps(like)).error()) == text:
                return like
    return Failed(make=Exception, args=(text,), state={}, trace=trace)


def passes(value: object) -> bool:
    """Whether it can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        return False
    return True


def _same(error: Exception) -> Exception:
    return error


def _bare(cls: type[Exception], args: tuple[Any, ...]) -> Exception:
    error = cls.__new__(cls, *args)
    # An OSError leaves them to its `__init__`.
    error.args = args
    return error
