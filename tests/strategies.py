"""Hypothesis strategies for the model's values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen import errors
from holodeck_gen.testing import Act, Script

#: Text that files and databases can hold.
words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30
)
prompts = words.filter(lambda text: bool(text.strip()))
names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)
sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
seeds = st.none() | st.integers(0, 2**63 - 1)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
costs = st.builds(
    hg.Cost,
    amount=st.decimals(0, 1000, places=4, allow_nan=False),
    currency=st.sampled_from(["CNY", "USD"]),
)
artifacts = st.builds(
    hg.Artifact,
    path=st.just("/out/a.png"),
    media_type=st.just("image/png"),
    sha256=digests,
    size_bytes=st.integers(0, 2**40),
    width=st.none() | st.integers(1, 9999),
    height=st.none() | st.integers(1, 9999),
    seed=seeds,
    metadata=json_objects,
) | st.builds(
    hg.Artifact,
    uri=st.just("s3://bucket/a.png"),
    media_type=words,
    sha256=digests,
    size_bytes=st.integers(0, 9),
)
tasks = st.builds(
    hg.Task,
    prompts,
    id=st.none() | names,
    kind=st.sampled_from(["image", "model3d"]),
    model=st.none() | words,
    size=st.none() | sizes,
    seed=seeds,
    n=st.integers(1, 10_000),
    negative_prompt=st.none() | words,
    style=st.none() | words,
    inputs=st.lists(words | artifacts, max_size=2),
    provider=st.none() | names,
    provider_options=json_objects,
    output=st.none() | names,
    metadata=json_objects,
    priority=st.integers(-1000, 1000),
    affinity=st.none() | words,
)

#: Every public class of `holodeck_gen.errors`.
ERROR_CLASSES: tuple[type[errors.GenerationError], ...] = tuple(
    getattr(errors, name) for name in errors.__all__
)
_FACTS: dict[str, st.SearchStrategy[Any]] = {
    "reason": words,
    "resume_after": st.none() | st.floats(0, 1e6),
    "plugin": words,
    "nearest": st.lists(words, max_size=2).map(tuple),
    "owner": words,
    "task_id": st.none() | words,
    "provider": st.none() | words,
    "job_id": st.none() | words,
    "code": st.none() | words,
    "request_id": st.none() | words,
    "quota_only": st.booleans(),
    "not_created": st.booleans(),
    "retry_after": st.none() | st.floats(0, 1e6),
    "artifacts": st.lists(artifacts, max_size=2).map(tuple),
    "stage": words,
}


@st.composite
def errors_of(
    draw: st.DrawFn, classes: tuple[type[errors.GenerationError], ...] = ERROR_CLASSES
) -> Any:
    """Errors of any class, with any of the facts that it takes."""
    cls = draw(st.sampled_from(classes))
    facts = {name: draw(_FACTS[name]) for name in sorted(vars(cls("")))}
    return cls(draw(words), **facts)


task_errors = errors_of(tuple(c for c in ERROR_CLASSES if issubclass(c, errors.TaskError)))
results = st.builds(
    hg.Result,
    task=tasks,
    index=st.integers(0, 99),
    key=names,
    artifacts=st.lists(artifacts, max_size=2),
    prompt=prompts,
    revised_prompt=st.none() | words,
    provider=names,
    model=st.none() | words,
    job_ids=st.lists(words, max_size=2),
    attempts=st.integers(0, 9),
    cost=st.none() | costs,
    seconds=st.dictionaries(names, st.floats(0, 1e6), max_size=2),
    warnings=st.lists(words, max_size=2),
    resumed=st.booleans(),
)
failures = st.builds(
    hg.Failure,
    task=tasks,
    index=st.integers(0, 99),
    key=names,
    error=errors_of(),
    state=st.sampled_from(["failed", "held", "cancelled"]),
    artifacts=st.lists(artifacts, max_size=2),
    attempts=st.integers(0, 9),
)

#: What a provider may raise, with what the class proves and with either claim of its own.
_raised: st.SearchStrategy[Act] = st.builds(
    lambda cls, claim: cls("as scripted", not_created=claim),
    st.sampled_from([c for c in ERROR_CLASSES if issubclass(c, errors.ProviderError)]),
    st.sampled_from([None, True, False]),
) | st.sampled_from([ValueError("broken"), OSError("reset"), TimeoutError()]).map(lambda e: e)
MISBEHAVIORS: list[Act] = ["accept", "hang", "late", "lose", "nonsense", "cancel"]
acts: st.SearchStrategy[Act] = _raised | st.sampled_from(MISBEHAVIORS)
scripts = st.builds(
    Script,
    job_s=st.floats(0, 90),
    submits=st.lists(acts, max_size=2),
    polls=st.lists(acts, max_size=2),
    error=st.none() | st.just(errors.JobFailedError("as scripted")),
)
