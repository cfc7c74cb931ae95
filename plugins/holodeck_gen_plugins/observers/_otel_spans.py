"""Tasks and their stages as OpenTelemetry's spans.

A task's spans are made when it has ended, with the times at which everything was: whoever is
stopped half-way leaves no open ones, and what an earlier run has made leaves none at all.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

import holodeck_gen as hg
from holodeck_gen import events
from holodeck_gen_plugins.observers._otel_metrics import ERROR, PROVIDER

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

#: Tasks that are remembered at most: the end of one may have been dropped.
MOST_TASKS = 50_000
#: Spans of one task, and events; a job may be polled for hours while its service is away.
MOST_STAGES = 1000
MOST_RETRIES = 100

_CALLS = ("submit", "fetch")


@attrs.define(eq=False)
class _Story:
    """What is known of one task that has not ended."""

    stages: deque[events.StageEnded] = attrs.field(factory=lambda: deque(maxlen=MOST_STAGES))
    retries: deque[events.RequestRetried] = attrs.field(factory=lambda: deque(maxlen=MOST_RETRIES))
    jobs: dict[int, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class OtelSpans:
    """Makes a span of each task, with a child for each stage it went through."""

    tracer: Tracer
    _stories: dict[str, _Story] = attrs.field(factory=dict, init=False)

    def __call__(self, event: events.Event) -> None:
        """Take note of an event; spans are made of a task's end."""
        match event:
            case events.StageEnded():
                self._story(event.key).stages.append(event)
            case events.RequestRetried():
                self._story(event.key).retries.append(event)
            case events.JobSubmitted(job_id=str(job_id)):
                self._story(event.key).jobs[event.part] = job_id
            case events.TaskEnded():
                story = self._stories.pop(event.outcome.key, None)
                if not event.outcome.resumed:
                    self._tell(event, story or _Story())

    def _story(self, key: str) -> _Story:
        if key not in self._stories:
            if len(self._stories) >= MOST_TASKS:
                del self._stories[next(iter(self._stories))]
            self._stories[key] = _Story()
        return self._stories[key]

    def _tell(self, end: events.TaskEnded, story: _Story) -> None:
        outcome = end.outcome
        facts: dict[str, AttributeValue] = {
            "holodeck_gen.task.key": outcome.key,
            "holodeck_gen.task.index": outcome.index,
            "holodeck_gen.task.state": outcome.state,
            "holodeck_gen.task.attempts": outcome.attempts,
        }
        if end.provider:
            facts[PROVIDER] = end.provider
        if isinstance(outcome, hg.Result) and outcome.model:
            facts["holodeck_gen.model"] = outcome.model
        if story.jobs:
            facts["holodeck_gen.job.ids"] = [story.jobs[part] for part in sorted(story.jobs)]
        span = self.tracer.start_span(
            # A kind is one of few; a name made of a task's words would be another each time.
            f"generate {outcome.task.kind}",
            Context(),
            start_time=_nanoseconds(end.time - end.seconds),
            attributes=facts,
        )
        for retry in story.retries:
            span.add_event(
                "retry",
                {
                    "holodeck_gen.action": retry.action,
                    "holodeck_gen.wait": retry.wait_s,
                    ERROR: retry.error,
                },
                _nanoseconds(retry.time),
            )
        within = set_span_in_context(span, Context())
        for stage in story.stages:
            self._stage(stage, story, within)
        if isinstance(outcome, hg.Failure):
            _failed(span, type(outcome.error).__name__, stopped=outcome.state == "cancelled")
        span.end(_nanoseconds(end.time))

    def _stage(self, stage: events.StageEnded, story: _Story, within: Context) -> None:
        facts: dict[str, AttributeValue] = {"holodeck_gen.stage": stage.stage}
        if stage.part is not None:
            facts["holodeck_gen.part"] = stage.part
            if stage.part in story.jobs and stage.stage not in ("wait", "submit"):
                facts["holodeck_gen.job.id"] = story.jobs[stage.part]
        span = self.tracer.start_span(
            stage.stage if stage.name is None else f"{stage.stage} {stage.name}",
            within,
            kind=SpanKind.CLIENT if stage.stage in _CALLS else SpanKind.INTERNAL,
            start_time=_nanoseconds(stage.time - stage.seconds),
            attributes=facts,
        )
        if stage.error is not None:
            _failed(span, stage.error, stopped=stage.error == "CancelledError")
        span.end(_nanoseconds(stage.time))


def _failed(span: Span, error: str, *, stopped: bool) -> None:
    span.set_attribute(ERROR, error)
    if not stopped:
        # Not the error's words: a provider's may have the prompt in them.
        span.set_status(Status(StatusCode.ERROR, error))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
