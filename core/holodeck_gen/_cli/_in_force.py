"""Everything that applies: what is written somewhere, what is not, and what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._config.config import Config, Setting, fold
from holodeck_gen._config.keys import KEYS
from holodeck_gen._config.secrets import MASK
from holodeck_gen._config.settings import Settings, settings_of
from holodeck_gen._model.remote import canonical, is_remote
from holodeck_gen._plugins.registry import Registry
from holodeck_gen._spending.prices import Prices
from holodeck_gen.errors import ConfigError, GenerationError, UnknownNameError

if TYPE_CHECKING:
    from holodeck_gen._plugins.registry import Kind, Registration

DEFAULT = "default"
_ACCOUNT = re.compile(r"\.accounts\[\d+\]")
#: Settings that are no fields of `Settings`, or are kept there in another form.
_DEFAULTS: Mapping[str, object] = {
    "concurrency": "auto",
    "name": None,
    "journal": "automatic",
    "network_journal": False,
    "resume": "if-possible",
    "cache_reuse": "reproducible",
    "expand": (),
    "rewrite": (),
    "process": (),
    "observe": (),
}
#: Which settings name stages, and of which kind.
_NAMED: Mapping[str, Kind] = {
    "store": "store",
    "expand": "expander",
    "rewrite": "rewriter",
    "process": "processor",
    "observe": "observer",
}


@attrs.frozen(kw_only=True)
class InForce:
    """What applies.

    Attributes:
        settings: Every setting, and every option of the providers and stages that are named or
            configured, by key; secrets masked.
        wrong: Why a run under these settings would not begin, in words.
        odd: What is wrong with what no setting names.
    """

    settings: Sequence[Setting]
    wrong: Sequence[str]
    odd: Sequence[str]


@attrs.define
class _Look:
    config: Config
    registry: Registry
    defaults: list[Setting] = attrs.field(factory=list)
    #: Keys whose values are secrets by what their owner says.
    secret: set[str] = attrs.field(factory=set)
    wrong: list[str] = attrs.field(factory=list)
    odd: list[str] = attrs.field(factory=list)

    def top(self, written: set[str]) -> None:
        fields = {field.name: field.default for field in attrs.fields(Settings)}
        for key in KEYS:
            if key not in written:
                value = _DEFAULTS.get(key, fields.get(key))
                self.defaults.append(_default(key, value))

    def named(self, key: str) -> tuple[str, ...]:
        """The names that a setting holds; none where it cannot be read, which is told."""
        try:
            found = self.config.get(key)
        except ConfigError as error:
            self.wrong.append(str(error))
            return ()
        return (found,) if isinstance(found, str) else tuple(found or ())

    def options(self, table: str, kind: Kind, name: str, registration: Registration) -> None:
        """Add the options of one provider or stage that are not written, and check the others."""
        written = {_folded(setting.key) for setting in self.config.settings()}
        for field in attrs.fields(registration.options) if registration.options else ():
            key = f"{table}.{name}.{field.alias}"
            folded = _folded(key)
            if not field.repr:
                self.secret.add(folded)
            if not any(each == folded or each.startswith(f"{folded}.") for each in written):
                self.defaults.append(_default(key, _plain_default(field)))
        try:
            for options in self._accounts(table, name):
                self._check(kind, name, options, registration)
        except GenerationError as error:
            self.wrong.append(str(error))

    def _accounts(self, table: str, name: str) -> list[dict[str, Any]]:
        if table == "providers":
            return self.config.provider_accounts(name)[1]
        return [self.config.stage_options(name)[1]]

    def _check(
        self, kind: Kind, name: str, options: dict[str, Any], registration: Registration
    ) -> None:
        if kind == "store" and registration.options:
            # The output says these where nothing else does.
            places = {"folder", "url"} & set(attrs.fields_dict(registration.options))
            options = {**dict.fromkeys(places, "-"), **options}
        self.registry.configure(kind, name, options, use=registration.name)


def in_force(config: Config, registry: Registry) -> InForce:
    """Everything that applies under `config`; nothing is made, and no address is asked."""
    look = _Look(config, registry)
    written = config.settings()
    look.top({setting.key for setting in written})
    named: set[tuple[str, str]] = set()
    for name in look.named("provider"):
        named.add(("providers", fold(name)))
        _add(look, "providers", "provider", name)
    for key, kind in _NAMED.items():
        for name in look.named(key):
            named.add(("stages", fold(name)))
            _add(look, "stages", kind, name, said=key)
    for table, name in _configured(written):
        if (table, fold(name)) not in named:
            _add_unused(look, table, name)
    for check in (_check_settings, _check_output, Prices.of):
        try:
            check(config)
        except GenerationError as error:
            look.wrong.append(str(error))
    settings = [_masked(each, look.secret) for one in written for each in _accounts(one)]
    settings += look.defaults
    return InForce(
        settings=sorted(settings, key=lambda each: (each.key.count(".") > 0, each.key)),
        wrong=tuple(dict.fromkeys(look.wrong)),
        odd=tuple(dict.fromkeys(look.odd)),
    )


def _check_settings(config: Config) -> None:
    kept = {field.name for field in attrs.fields(Settings)} & set(KEYS) - {"name"}
    settings_of(config, name=None, **dict.fromkeys(kept))


def _check_output(config: Config) -> None:
    output = config.get("output")
    if is_remote(output):
        canonical(output)


def _add(look: _Look, table: str, kind: Kind, name: str, *, said: str | None = None) -> None:
    try:
        use = _use(look.config, table, name)
        registration = look.registry.find(kind, use)
    except GenerationError as error:
        where = f"{said or 'provider'} names {name!r}: " if isinstance(error, LookupError) else ""
        own = f" (for a name of your own, write use = … in [{table}.{name}])" if where else ""
        look.wrong.append(f"{where}{error}{own}")
        return
    look.options(table, kind, name, registration)


def _add_unused(look: _Look, table: str, name: str) -> None:
    """What is configured and not named: it may be a slip, and may be meant for another time."""
    kinds: Sequence[Kind] = ("provider",) if table == "providers" else tuple(_NAMED.values())
    known: list[str] = []
    for kind in kinds:
        try:
            registration = look.registry.find(kind, _use(look.config, table, name))
        except UnknownNameError as error:
            known += error.nearest
            continue
        except GenerationError as error:
            look.odd.append(f"{table}.{name}: {error}")
            return
        apart = _Look(look.config, look.registry)
        apart.options(table, kind, name, registration)
        look.defaults += apart.defaults
        look.secret |= apart.secret
        look.odd += [f"{each} (nothing names it)" for each in apart.wrong]
        return
    meant = f"; did you mean {' or '.join(map(repr, dict.fromkeys(known)))}?" if known else ""
    what = "provider" if table == "providers" else "stage"
    look.odd.append(f"[{table}.{name}] is of no {what} that there is{meant}")


def _use(config: Config, table: str, name: str) -> str:
    """What is meant by a name; no other option is looked at, so that none can be in the way.

    Raises:
        ConfigError: It is no name.
    """
    key = _folded(f"{table}.{name}.use")
    use = next((each.value for each in config.settings() if _folded(each.key) == key), name)
    if not isinstance(use, str):
        raise ConfigError(f"{table}.{name}.use must be a name, not {use!r}")
    return use


def _configured(settings: Sequence[Setting]) -> dict[tuple[str, str], None]:
    found: dict[tuple[str, str], None] = {}
    for setting in settings:
        table, _, rest = setting.key.partition(".")
        if table in ("providers", "stages") and rest:
            found[table, rest.split(".")[0]] = None
    return found


def _accounts(setting: Setting) -> Iterator[Setting]:
    """A row for each option of each account, in place of one for all."""
    tables = setting.value
    parts = setting.key.split(".")
    lists = len(parts) == 3 and parts[0] == "providers" and parts[2] == "accounts"
    if not lists or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        yield setting
        return
    for number, table in enumerate(tables, start=1):
        for key, value in table.items():
            yield attrs.evolve(
                setting,
                key=f"{setting.key}[{number}].{key}",
                value=value,
                secret=MASK in str(value),
            )


def _masked(setting: Setting, secret: set[str]) -> Setting:
    key = _folded(_ACCOUNT.sub("", setting.key))
    hidden = any(key == each or key.startswith(f"{each}.") for each in secret)
    if not hidden or setting.secret or setting.value is None:
        return setting
    return attrs.evolve(setting, value=MASK, secret=True)


def _folded(key: str) -> str:
    """A key with the name in it as names are compared."""
    table, _, rest = key.partition(".")
    name, dot, option = rest.partition(".")
    return f"{table}.{fold(name)}{dot}{option}" if rest else key


def _default(key: str, value: object) -> Setting:
    return Setting(key=key, value=value, origin=DEFAULT, secret=False)


def _plain_default(field: attrs.Attribute[Any]) -> object:
    if field.default is attrs.NOTHING:
        return None
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return None if default.takes_self else default.factory()
    return default
