"""The keywords of ``@flow``: which there are, and what is wrong with a value.

Lives here: checking at definition, and the names of runs by template or
callable. Does not live here: what an option does, hooks (``flow_hooks.py``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, TypedDict

from dataflow.caching_options import KeepingOptions, keeping_of_flow
from dataflow.checking import Check
from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.options import refuse_unknown
from dataflow.runner import TaskRunner
from dataflow.runner_choice import RunnerOption, check_runner
from dataflow.settings import get_settings

if TYPE_CHECKING:
    from dataflow.alerts import Alert

_BANNED = "/%&<>"
_FOR_EVER_S = 1e9  # 31 years; a platform's own waits overflow at some 290

KEPT_ON_NONE = frozenset({"name", "description", "version", "flow_run_name", "task_runner"})
"""Options that None does not take back."""


class FlowKeywords(TypedDict, total=False):
    """Keywords of ``@flow``, ``Flow`` and ``with_options``."""

    name: str | None
    version: str | None
    description: str | None
    flow_run_name: str | Callable[..., str] | None
    retries: int | None
    retry_delay_seconds: float | None
    task_runner: TaskRunner | type[TaskRunner] | str | None
    timeout_seconds: float | None
    validate_parameters: bool | None
    log_prints: bool | None
    on_exit: str | None
    strict: bool | None
    on_completion: Iterable[Callable[..., Any]] | None
    on_failure: Iterable[Callable[..., Any]] | None
    on_cancellation: Iterable[Callable[..., Any]] | None
    on_crashed: Iterable[Callable[..., Any]] | None
    on_running: Iterable[Callable[..., Any]] | None
    persist_result: bool | None
    result_storage: Any  # a path, a URL, a ResultStorage
    result_serializer: Any  # dataflow.serializers.Serializer, or the name of one
    cache_result_in_memory: bool | None
    alerts: Iterable[Alert] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """The options of a flow, checked; hooks are apart."""

    name: str
    version: str | None
    description: str | None
    flow_run_name: str | Callable[..., str] | None
    retries: int | None  # None: as the settings say
    retry_delay_seconds: float | None
    task_runner: RunnerOption | None
    timeout_seconds: float | None
    validate_parameters: bool
    log_prints: bool | None
    on_exit: str
    strict: bool
    keeping: KeepingOptions = KeepingOptions()
    alerts: tuple[Alert, ...] = ()


def check_flow(given: Mapping[str, Any], default_name: str, doc: str | None,
               parameters: Mapping[str, inspect.Parameter]) -> FlowSettings:
    """Check a flow's options.

    Raises
    ------
    DefinitionError, DefinitionTypeError
        A value cannot be meant; the text names the option.
    TypeError
        There is no such option.
    """
    label = f"flow {given.get('name') or default_name!r}"
    refuse_unknown(given, FlowKeywords.__annotations__, "flow")
    check = Check(label, given)
    timeout = check.get("timeout_seconds")
    if timeout is not None:
        timeout = min(check.number("timeout_seconds", timeout, above_zero=True), _FOR_EVER_S)
    return FlowSettings(
        name=_name(check) or default_name,
        version=check.text("version"),
        description=check.text("description") or doc,
        flow_run_name=_run_name(check, label, parameters),
        retries=check.whole("retries", 0),
        retry_delay_seconds=_delay(check),
        task_runner=check_runner(check.get("task_runner"), label),
        timeout_seconds=timeout,
        validate_parameters=check.flag("validate_parameters") is not False,
        log_prints=check.flag("log_prints"),
        on_exit=_on_exit(check),
        strict=check.flag("strict") is True,
        keeping=keeping_of_flow(check),
        alerts=_alerts(check, label),
    )


def retries_of(settings: FlowSettings) -> tuple[int, float]:
    """Return (retries, delay in seconds) of a flow, by the settings of this moment by default."""
    retries, delay = settings.retries, settings.retry_delay_seconds
    if retries is None or delay is None:
        defaults = get_settings()
        retries = defaults.flows_default_retries if retries is None else retries
        delay = defaults.flows_default_retry_delay_seconds if delay is None else delay
    return retries, delay


def _name(check: Check) -> str | None:
    name = check.text("name")
    if name is not None and any(char in name for char in _BANNED):
        check.wrong("name", f"free of {' '.join(_BANNED)}")
    return name


def _delay(check: Check) -> float | None:
    value = check.get("retry_delay_seconds")
    if value is None:
        return None
    if isinstance(value, (list, tuple)) or callable(value):
        check.wrong_type("retry_delay_seconds", "a number of seconds (lists are for tasks)")
    return min(check.number("retry_delay_seconds", value), _FOR_EVER_S)


def _on_exit(check: Check) -> str:
    value = check.get("on_exit")
    if value not in (None, "wait", "cancel"):
        check.wrong("on_exit", "'wait' or 'cancel'")
    return str(value or "wait")


def _alerts(check: Check, label: str) -> tuple[Alert, ...]:
    value = check.get("alerts")
    if value is None:
        return ()
    from dataflow.alerts.alert_lists import checked_alerts

    return checked_alerts(value, label)


def _run_name(check: Check, label: str, parameters: Mapping[str, inspect.Parameter]
              ) -> str | Callable[..., str] | None:
    value = check.get("flow_run_name")
    if value is None:
        return None
    if isinstance(value, str):
        _check_template(value, label, parameters)
        return value
    if not callable(value):
        check.wrong_type("flow_run_name", "a str or a callable that returns one")
    _check_maker(value, label)
    return value  # type: ignore[no-any-return]  # as just checked


def _check_template(template: str, label: str,
                    parameters: Mapping[str, inspect.Parameter]) -> None:
    """Refuse a template that can never be filled in."""
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise DefinitionError(
            f"flow_run_name of {label} is no template: {error} in {template!r}; a brace itself is "
            "written twice", option="flow_run_name") from None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for field in fields:
        name = field.partition(".")[0].partition("[")[0]
        if name not in parameters:
            raise DefinitionError(
                f"flow_run_name of {label} has a field {{{field}}}, but there is no parameter "
                f"{name!r}; there are: {', '.join(parameters) or 'none'}",
                option="flow_run_name", field=field)


def _check_maker(fn: Callable[..., Any], label: str) -> None:
    """Refuse a callable that cannot be called with nothing but ``parameters``."""
    what = "a function without arguments, or with one named 'parameters', that returns a str"
    if inspect.iscoroutinefunction(fn):
        raise DefinitionTypeError(
            f"flow_run_name of {label} must be {what}, got an async function",
            option="flow_run_name")
    try:
        takes = inspect.signature(fn).parameters
    except (ValueError, TypeError):  # a builtin that tells no signature
        return
    needs = [name for name, p in takes.items() if p.default is p.empty and name != "parameters"
             and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needs:
        raise DefinitionTypeError(
            f"flow_run_name of {label} must be {what}; this one takes {', '.join(needs)}",
            option="flow_run_name")


def make_run_name(how: str | Callable[..., str], bound: inspect.BoundArguments,
                  flow_name: str) -> str:
    """Return the name of a run by template or callable.

    Raises
    ------
    DefinitionError
        The template cannot be filled in with these parameters.
    DefinitionTypeError
        The callable did not return a str.
    """
    values = _by_name(bound)
    if isinstance(how, str):
        try:
            return how.format(**values)
        except Exception as error:  # user code: __format__ may raise anything
            raise DefinitionError(
                f"flow_run_name {how!r} of flow {flow_name!r} cannot be filled in: "
                f"{type(error).__name__}: {error}; parameters are {', '.join(values) or 'none'}",
                option="flow_run_name") from error
    name = how(parameters=values) if _wants_parameters(how) else how()
    if not isinstance(name, str):
        raise DefinitionTypeError(
            f"flow_run_name of flow {flow_name!r} returned {type(name).__name__}, expected str",
            option="flow_run_name")
    return name


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the parameters of a call, those in ``**kwargs`` beside the others."""
    out = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            out.update(out.pop(name, {}))
    return out


def _wants_parameters(fn: Callable[..., Any]) -> bool:
    try:
        takes = inspect.signature(fn).parameters
    except (ValueError, TypeError):  # a builtin that tells no signature
        return False
    return "parameters" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())


