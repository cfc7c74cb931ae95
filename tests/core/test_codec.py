from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen import errors
from holodeck_gen._model.codec import (
    error_from_json,
    error_to_json,
    from_json,
    outcome_from_json,
    outcome_to_json,
    to_json,
)
from strategies import (
    artifacts,
    costs,
    errors_of,
    failures,
    json_objects,
    results,
    seeds,
    task_errors,
    tasks,
    words,
)

urls = st.builds(
    hg.Url,
    url=words,
    media_type=st.none() | words,
    expires_at=st.none() | st.floats(0, 1e10),
    seed=seeds,
    revised_prompt=st.none() | words,
    metadata=json_objects,
)
values = st.one_of(
    tasks,
    artifacts,
    results,
    costs,
    urls,
    st.builds(hg.JobRef, job_id=words, state=json_objects),
    st.builds(
        hg.Prepared,
        request=json_objects,
        warnings=st.lists(words, max_size=2),
        per_job=st.integers(1, 9),
        estimate=st.none() | costs,
    ),
    st.builds(hg.Limits, max_jobs=st.none() | st.integers(1, 9), submit_rate=st.floats(0.1, 9)),
    st.builds(
        hg.JobStatus,
        phase=st.sampled_from(["queued", "running", "done", "failed"]),
        outputs=st.lists(urls, max_size=2),
        retry_hint_s=st.none() | st.floats(0, 9),
        cost=st.none() | costs,
    ),
)


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


@given(values)
def test_values_survive(value: Any) -> None:
    assert from_json(through_json(to_json(value)), type(value)) == value


@given(task_errors)
def test_the_error_of_a_part_survives(error: errors.TaskError) -> None:
    status = hg.JobStatus(phase="done", outputs=[hg.PartError(error=error)], error=error)
    read = from_json(through_json(to_json(status)), hg.JobStatus)
    (part,) = read.outputs
    assert isinstance(part, hg.PartError)
    for found in (part.error, read.error):
        assert type(found) is type(error)
        assert vars(found) == vars(error)


@given(errors_of())
def test_errors_survive(error: errors.GenerationError) -> None:
    error.add_note("a note is for people")
    read = error_from_json(through_json(error_to_json(error)))
    facts = {name: fact for name, fact in vars(error).items() if name != "__notes__"}
    assert (type(read), str(read), vars(read)) == (type(error), str(error), facts)


@given(results | failures)
def test_outcomes_survive(outcome: hg.Outcome) -> None:
    read = outcome_from_json(through_json(outcome_to_json(outcome)))
    assert read == outcome
    if isinstance(outcome, hg.Failure):
        assert isinstance(read, hg.Failure)
        assert vars(read.error) == vars(outcome.error)


def test_a_task_says_only_what_was_said() -> None:
    task = hg.Task("a cat", id="cat", size="64x32")
    assert to_json(task) == {"prompt": "a cat", "id": "cat", "size": [64, 32]}


def test_an_error_of_a_newer_release() -> None:
    for name in ("FutureError", "annotations", "TYPE_CHECKING", "__doc__"):
        read = error_from_json({"type": name, "message": "m", "new_fact": 1})
        assert type(read) is errors.GenerationError
        assert str(read) == "m"
    read = error_from_json({"type": "AuthError", "message": "m", "new_fact": 1})
    assert isinstance(read, errors.GenerationError)


def test_unknown_keys_are_ignored() -> None:
    assert from_json({"prompt": "a", "from_the_future": 1}, hg.Task) == hg.Task("a")
