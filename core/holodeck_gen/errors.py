"""Every error this library raises; the class says what the caller can do.

::

    GenerationError
    ├ ConfigError(ValueError)        correct the configuration; nothing was spent
    ├ PausedError                    resume later: the provider or the account needs a rest
    ├ PluginError
    │ ├ PluginLoadError              a plugin is broken; the others work
    │ ├ UnknownNameError(LookupError)  no such provider, stage or option
    │ └ DuplicateNameError           two plugins claim one name
    ├ JournalError
    │ ├ JournalLockedError           another process owns the journal
    │ ├ JournalVersionError          written by a newer release
    │ └ JournalCorruptError          damaged; kept untouched
    └ TaskError                      one task ended without its result
      ├ InvalidTaskError(ValueError)   our own check, before any cost
      ├ ProviderError
      │ ├ AuthError                  final: credentials
      │ ├ BillingError               final: credit, quota, service not activated
      │ ├ ContentRejectedError       final: moderation
      │ ├ JobFailedError             final: the job ran and failed
      │ ├ RetryableError
      │ │ ├ ThrottledError           too many requests
      │ │ ├ SlotRefusedError         too many jobs at once
      │ │ └ TransientError           network or service trouble
      │ └ SubmitUncertainError       may have been accepted: never repeated by itself
      ├ PartialResultError           some of the pictures exist
      ├ JobTimeoutError(TimeoutError)  overdue; the job may still finish
      ├ TaskCancelledError
      ├ BudgetExceededError
      └ StageError
        ├ RewriteError  ├ DownloadError  ├ ProcessingError  └ StorageError

All of them pickle: everything but the message is a keyword argument with a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from holodeck_gen._model.artifact import Artifact

__all__ = [
    "AuthError",
    "BillingError",
    "BudgetExceededError",
    "ConfigError",
    "ContentRejectedError",
    "DownloadError",
    "DuplicateNameError",
    "GenerationError",
    "InvalidTaskError",
    "JobFailedError",
    "JobTimeoutError",
    "JournalCorruptError",
    "JournalError",
    "JournalLockedError",
    "JournalVersionError",
    "PartialResultError",
    "PausedError",
    "PluginError",
    "PluginLoadError",
    "ProcessingError",
    "ProviderError",
    "RetryableError",
    "RewriteError",
    "SlotRefusedError",
    "StageError",
    "StorageError",
    "SubmitUncertainError",
    "TaskCancelledError",
    "TaskError",
    "ThrottledError",
    "TransientError",
    "UnknownNameError",
]


class GenerationError(Exception):
    """The root: ``except GenerationError`` catches whatever this library raises."""


class ConfigError(GenerationError, ValueError):
    """A setting, option or argument is wrong; nothing was started."""


class PausedError(GenerationError):
    """The run stopped before its end and can be resumed.

    Attributes:
        reason: What to mend first, in one sentence.
        resume_after: Seconds to wait before it makes sense to try, if known.
    """

    def __init__(
        self, message: str, *, reason: str = "", resume_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason or message
        self.resume_after = resume_after


class PluginError(GenerationError):
    """Something about plugins and their names."""


class PluginLoadError(PluginError):
    """A plugin could not be imported or registered.

    Attributes:
        plugin: The name of its entry point.
    """

    def __init__(self, message: str, *, plugin: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin


class UnknownNameError(PluginError, LookupError):
    """Nothing is registered under this name.

    Attributes:
        nearest: Names that exist and are spelt alike, best first.
    """

    def __init__(self, message: str, *, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest


class DuplicateNameError(PluginError):
    """Two plugins registered the same name."""


class JournalError(GenerationError):
    """The journal cannot be used as it is."""


class JournalLockedError(JournalError):
    """Another process writes this journal.

    Attributes:
        owner: Process and host that hold it.
    """

    def __init__(self, message: str, *, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


class JournalVersionError(JournalError):
    """The journal was written by a newer release."""


class JournalCorruptError(JournalError):
    """The journal is damaged; it was left untouched."""


class TaskError(GenerationError):
    """One task ended without its result; its neighbours are not concerned.

    Attributes:
        task_id: The task's id or key.
        provider: The provider's name.
        job_id: The provider's job, where one exists or may exist.
    """

    def __init__(
        self,
        message: str,
        *,
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.provider = provider
        self.job_id = job_id


class InvalidTaskError(TaskError, ValueError):
    """The task cannot be run as it is; found out before any cost."""


class ProviderError(TaskError):
    """The provider refused, failed or misbehaved.

    Attributes:
        code: The provider's own code, unchanged.
        request_id: The provider's id of the request, for its support.
        not_created: True only where the answer proves that no job was made.
    """

    #: What the class alone proves when the raiser does not say.
    proves_not_created: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        not_created: bool | None = None,
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, task_id=task_id, provider=provider, job_id=job_id)
        self.code = code
        self.request_id = request_id
        self.not_created = self.proves_not_created if not_created is None else not_created


class AuthError(ProviderError):
    """The credentials were refused; every other task of the account would be, too."""

    proves_not_created = True


class BillingError(ProviderError):
    """No credit, no quota left, or the service is not activated.

    Attributes:
        quota_only: Whether it concerns only tasks that share the task's `quota_key`, as a rule
            those of its model, and not the whole account.
    """

    proves_not_created = True

    def __init__(
        self,
        message: str,
        *,
        quota_only: bool = False,
        code: str | None = None,
        request_id: str | None = None,
        not_created: bool | None = None,
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            request_id=request_id,
            not_created=not_created,
            task_id=task_id,
            provider=provider,
            job_id=job_id,
        )
        self.quota_only = quota_only


class ContentRejectedError(ProviderError):
    """Moderation refused the prompt, an input or the picture."""

    proves_not_created = True


class JobFailedError(ProviderError):
    """The job ran to its end and failed."""


class RetryableError(ProviderError):
    """The same request may succeed later.

    Attributes:
        retry_after: Seconds the provider asks for, if it does.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
        request_id: str | None = None,
        not_created: bool | None = None,
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            request_id=request_id,
            not_created=not_created,
            task_id=task_id,
            provider=provider,
            job_id=job_id,
        )
        self.retry_after = retry_after


class ThrottledError(RetryableError):
    """Too many requests: concerns the pace, not the job slots."""

    proves_not_created = True


class SlotRefusedError(RetryableError):
    """Too many jobs at once: concerns the job slots, not the pace."""

    proves_not_created = True


class TransientError(RetryableError):
    """Network or service trouble; says nothing about whether a job was made."""


class SubmitUncertainError(ProviderError):
    """A submit ended without a job id and without proof that no job was made.

    It is never repeated by itself, because that could pay twice.
    """


class PartialResultError(TaskError):
    """Some of a task's pictures exist, others do not.

    Attributes:
        artifacts: The pictures that exist.
    """

    def __init__(
        self,
        message: str,
        *,
        artifacts: tuple[Artifact, ...] = (),
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, task_id=task_id, provider=provider, job_id=job_id)
        self.artifacts = artifacts


class JobTimeoutError(TaskError, TimeoutError):
    """The job is overdue; it may still finish and can be collected by its id."""


class TaskCancelledError(TaskError):
    """The task was cancelled by its owner."""


class BudgetExceededError(TaskError):
    """The task costs more than the whole budget. Other tasks go on."""


class StageError(TaskError):
    """A stage before or after the provider failed.

    Attributes:
        stage: The name of the stage.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str = "",
        task_id: str | None = None,
        provider: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, task_id=task_id, provider=provider, job_id=job_id)
        self.stage = stage


class RewriteError(StageError):
    """A rewriter or expander failed; nothing was sent to the provider."""


class DownloadError(StageError):
    """A finished picture could not be fetched; the job exists and is paid for."""


class ProcessingError(StageError):
    """A processor or a check failed; the raw picture is kept in the spool."""


class StorageError(StageError):
    """A file could not be stored; the raw picture is kept in the spool."""
