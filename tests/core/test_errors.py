from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given

from holodeck_gen import errors
from holodeck_gen._calls import told
from strategies import ERROR_CLASSES, errors_of

PARENTS = {
    "GenerationError": "Exception",
    "ConfigError": "GenerationError",
    "PausedError": "GenerationError",
    "PluginError": "GenerationError",
    "PluginLoadError": "PluginError",
    "UnknownNameError": "PluginError",
    "DuplicateNameError": "PluginError",
    "JournalError": "GenerationError",
    "JournalLockedError": "JournalError",
    "JournalVersionError": "JournalError",
    "JournalCorruptError": "JournalError",
    "TaskError": "GenerationError",
    "InvalidTaskError": "TaskError",
    "ProviderError": "TaskError",
    "AuthError": "ProviderError",
    "BillingError": "ProviderError",
    "ContentRejectedError": "ProviderError",
    "JobFailedError": "ProviderError",
    "RetryableError": "ProviderError",
    "ThrottledError": "RetryableError",
    "SlotRefusedError": "RetryableError",
    "TransientError": "RetryableError",
    "SubmitUncertainError": "ProviderError",
    "PartialResultError": "TaskError",
    "JobTimeoutError": "TaskError",
    "TaskCancelledError": "TaskError",
    "BudgetExceededError": "TaskError",
    "StageError": "TaskError",
    "RewriteError": "StageError",
    "DownloadError": "StageError",
    "ProcessingError": "StageError",
    "StorageError": "StageError",
}


def test_the_tree_is_as_drawn() -> None:
    assert {cls.__name__: cls.__bases__[0].__name__ for cls in ERROR_CLASSES} == PARENTS
    assert errors.__all__ == sorted(errors.__all__)
    assert errors.__doc__
    for name in PARENTS:
        assert name in errors.__doc__, f"{name} is not in the drawing"


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.InvalidTaskError, ValueError),
        (errors.JobTimeoutError, TimeoutError),
    ],
)
def test_builtins_are_inherited(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


@given(errors_of())
def test_every_class_pickles_with_its_facts(error: errors.GenerationError) -> None:
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(made) is type(error)
        assert str(made) == str(error)
        assert vars(made) == vars(error)


def test_what_the_class_alone_proves() -> None:
    proving = {
        cls.__name__
        for cls in ERROR_CLASSES
        if issubclass(cls, errors.ProviderError) and cls("").not_created
    }
    assert proving == {
        "AuthError", "BillingError", "ContentRejectedError", "ThrottledError", "SlotRefusedError",
    }  # fmt: skip
    assert errors.TransientError("", not_created=True).not_created
    assert not errors.AuthError("", not_created=False).not_created


class TestTold:
    def test_a_plugins_object_is_left_alone(self) -> None:
        cause = OSError("reset")
        given = errors.JobFailedError("no", code="X")
        given.__cause__ = cause
        own = told(given, task_id="a", job_id="1")
        assert (own.task_id, own.job_id, own.code, own.__cause__) == ("a", "1", "X", cause)
        assert (given.task_id, given.job_id) == (None, None)

    def test_what_it_says_itself_is_kept(self) -> None:
        given = errors.JobFailedError("no", job_id="1")
        assert told(given, job_id="2") is given

    def test_a_class_that_cannot_be_copied(self) -> None:
        class Odd(errors.JobFailedError):
            def __init__(self, *, text: str) -> None:
                super().__init__(text)

        assert told(Odd(text="no"), task_id="a").task_id == "a"
