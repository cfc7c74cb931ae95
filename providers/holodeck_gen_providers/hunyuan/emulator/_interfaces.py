"""The service's side of the dialect tables: which action or path makes what, for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from holodeck_gen_providers.hunyuan._services import DIALECTS
from holodeck_gen_providers.hunyuan._services3d import AI3D
from holodeck_gen_providers.hunyuan._tables import Dialect, Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Jobs at once where the documentation names no figure.
UNDOCUMENTED_MAX_JOBS = 1


@attrs.frozen(eq=False)
class Interface:
    """One way to have something made; several models may share it.

    Attributes:
        dialect: Whose it is.
        models: The first is the default.
    """

    dialect: Dialect
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        """The action or path that submits."""
        return self.models[0].submit

    @property
    def direct(self) -> bool:
        """Whether it answers at once."""
        return self.models[0].direct

    def model(self, parameters: Mapping[str, object]) -> Model | None:
        """The row that `parameters` ask for; None where there is no such model."""
        key = "Model" if self.dialect.signed else "model"
        wanted = parameters.get(key)
        if wanted is None:
            return self.models[0]
        for model in self.models:
            if wanted == model.constants.get(key, model.name):
                return model
        return None


Served: TypeAlias = tuple[Interface, bool]


def _interfaces(dialects: Iterable[Dialect]) -> dict[tuple[str, str], Served]:
    """By dialect and action or path: the interface, and whether this is its query."""
    served: dict[tuple[str, str], Served] = {}
    for dialect in dialects:
        rows: dict[str, list[Model]] = {}
        for model in dialect.models:
            rows.setdefault(model.submit, []).append(model)
        for submit, models in rows.items():
            interface = Interface(dialect, tuple(models))
            served[dialect.name, submit] = interface, False
            if (query := models[0].query) is not None:
                served[dialect.name, query] = interface, True
    return served


#: By the service in the credential scope.
SIGNED = {dialect.service: dialect for dialect in (*DIALECTS.values(), AI3D) if dialect.signed}
BEARER = next(dialect for dialect in DIALECTS.values() if not dialect.signed)
SERVED = _interfaces((*SIGNED.values(), BEARER))
