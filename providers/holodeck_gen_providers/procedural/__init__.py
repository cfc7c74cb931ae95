"""The built-in provider that draws from keywords: free, no network, no key, no model."""

from __future__ import annotations

import attrs

import holodeck_gen as hg

_unit = attrs.validators.and_(attrs.validators.ge(0.0), attrs.validators.le(1.0))


@attrs.frozen(kw_only=True)
class ProceduralOptions:
    """Options of the procedural provider.

    Attributes:
        max_jobs: Pictures drawn at once; 0 means one for each processor.
        job_s: Median seconds a job takes; above 0 it plays a service with jobs to be polled.
        job_spread: How much job times differ: the sigma of a lognormal distribution.
        quota: Jobs at once above which a submit is refused; 0 refuses none.
        submit_rate: Submits a second above which a submit is refused; 0 refuses none.
        failure_rate: Share of jobs that fail, from 0 to 1.
    """

    max_jobs: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    job_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0.0))
    job_spread: float = attrs.field(default=0.25, validator=_unit)
    quota: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    submit_rate: float = attrs.field(default=0.0, validator=attrs.validators.ge(0.0))
    failure_rate: float = attrs.field(default=0.0, validator=_unit)


def make_procedural(options: ProceduralOptions | None, ctx: hg.Context) -> hg.Provider:
    """The factory; numpy and Pillow are imported with the first picture."""
    from holodeck_gen_providers.procedural._provider import ProceduralProvider

    return ProceduralProvider(options=options or ProceduralOptions(), wall_clock=ctx.wall_clock)


@hg.hookimpl
def register_providers(register: hg.Register) -> None:
    """Register the provider."""
    register(
        "procedural",
        make_procedural,
        options=ProceduralOptions,
        summary="Draws from keywords with mathematics; free, no network, no key.",
    )
