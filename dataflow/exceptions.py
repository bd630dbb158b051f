"""The errors of dataflow, one tree::

    DataflowError
    ├── DefinitionError (ValueError)         a task or flow is declared wrongly; nothing exists
    │   ├── DefinitionTypeError (TypeError)
    │   ├── ReservedArgumentError (TypeError)
    │   ├── ScheduleError                    a schedule is declared wrongly
    │   ├── TriggerError                     a trigger is declared wrongly
    │   ├── DeploymentDefinitionError        a deployment is described wrongly; nothing registered
    │   ├── ProjectFileError                 a project file has mistakes; lists them all
    │   └── WorkPoolError                    a work pool or its worker is described wrongly
    ├── CallError                            a call cannot be made; nothing was submitted
    │   ├── ParameterBindError (TypeError)
    │   ├── ParameterTypeError (TypeError)   flow parameters fail validation: the run is FAILED
    │   ├── BackfillError (ValueError)       a backfill cannot be meant; no run was made
    │   ├── MappingMissingIterable (TypeError)
    │   ├── MappingLengthMismatch (ValueError)
    │   ├── ForeignFuture (ValueError)       a future of another run that has ended
    │   ├── GraphCycle (ValueError)
    │   └── MissingContextError (RuntimeError)   outside a run
    ├── RunError                             a run did not give a result
    │   ├── FailedRun
    │   │   └── MapGivenUp                   more failures than max_failures
    │   ├── CrashedRun                       the infrastructure failed
    │   │   ├── WorkerLost
    │   │   └── SchedulerLost
    │   ├── CancelledRun
    │   ├── PausedRun
    │   ├── UnfinishedRun (RuntimeError)
    │   │   └── UpstreamTaskError            did not run: names the task that failed first
    │   ├── MissingResult
    │   │   └── CorruptResult                its bytes are not those that were written
    │   ├── TaskRunTimeoutError (TimeoutError)
    │   ├── FlowRunTimeoutError (TimeoutError)
    │   └── RemoteError                      stands for an exception that cannot be unpickled
    ├── TransportError                       something cannot cross a process border
    │   ├── UnpicklableArgument (TypeError)
    │   ├── UnpicklableResult (TypeError)
    │   ├── UnserializableResult (TypeError) its serializer cannot hold the result
    │   ├── UnpicklableTask (TypeError)
    │   ├── MissingModule (ImportError)
    │   └── BlockLost (LookupError)          values that no worker holds any more
    ├── NotCacheable (TypeError)             a value or its code has no cache key; says which part
    ├── ResumeError (RuntimeError)           a flow run cannot go on; nothing was begun
    ├── IllegalStateMove (RuntimeError)      a run cannot go from its state to that one
    ├── StoreError (OSError)                 the run store failed; what was to be written was not
    │   ├── StoreVersionError
    │   └── RunFenced                        another process took the run over meanwhile
    ├── RunOwned (RuntimeError)              another process drives the run; nothing was begun
    ├── CodeSourceError (OSError)            a deployment's code cannot be brought here
    ├── ResultStorageError (OSError)         results cannot be read or written there; nothing was
    ├── ShellError (RuntimeError)            a shell command did not end with exit code 0
    │   └── ShellTimeoutError (TimeoutError)
    ├── AlertError                           a message was not delivered; no run is touched by it
    │   ├── ChannelError (OSError)           the channel did not take it; it is tried again
    │   └── ChannelRefused (ValueError)      the channel cannot be used as it is; nothing was sent
    ├── RunNotFound (LookupError)
    ├── DeploymentNotFound (LookupError)     no deployment or schedule answers to that name
    ├── ServerError (OSError)                the service cannot be started, or does not answer
    ├── RequestRefused (ValueError)          a request to the service is wrong; nothing was done
    └── SettingsError (ValueError)

Each carries its fields as attributes and survives pickle and cloudpickle.

Names of Prefect's that mean the same are at the end, so that an ``except`` of
theirs catches what can occur here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class DataflowError(Exception):
    """Base of every error this package raises by itself.

    Parameters
    ----------
    message
        What went wrong, where, and what to do.
    fields
        Kept as attributes, for programs to read.
    """

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.__dict__.update(fields)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    if TYPE_CHECKING:  # fields are set at run time; this only tells the type checker so

        def __getattr__(self, name: str) -> Any: ...


class DefinitionError(DataflowError, ValueError):
    """A task or flow is declared wrongly; the text names the option."""


class DefinitionTypeError(DefinitionError, TypeError):
    """An option has a value of the wrong type."""


class ReservedArgumentError(DefinitionError, TypeError):
    """A parameter has a name that belongs to the framework (``wait_for``, ``return_state``)."""


class ScheduleError(DefinitionError):
    """A schedule is declared wrongly, or asked about a moment that is none; nothing exists.

    Fields: ``field`` (the option at fault, or the field of a cron expression), ``value``.
    """


class TriggerError(DefinitionError):
    """A trigger is declared wrongly; nothing exists.

    Fields: ``field`` (the option at fault), ``value``.
    """


class DeploymentDefinitionError(DefinitionError):
    """A deployment is described wrongly; nothing was registered.

    Fields: ``deployment`` (its name), ``problems`` (field and text of each).
    """


class ProjectFileError(DefinitionError):
    """A project file has mistakes; nothing was registered. The text lists them all.

    Fields: ``file``, ``problems`` (each with ``line``, ``path`` and ``text``).
    """


class WorkPoolError(DefinitionError):
    """A work pool, its template or a worker of it is described wrongly; nothing was begun."""


class CallError(DataflowError):
    """A call cannot be made; nothing was submitted."""


class ParameterBindError(CallError, TypeError):
    """The arguments do not fit the signature."""


class ParameterTypeError(CallError, TypeError):
    """Flow parameters fail validation; the flow run is recorded as FAILED."""


class BackfillError(CallError, ValueError):
    """A backfill cannot be meant, or is larger than was allowed; no run was made."""


class MappingMissingIterable(CallError, TypeError):
    """``map`` got nothing to map over."""


class MappingLengthMismatch(CallError, ValueError):
    """The mapped arguments differ in length; the text names them all."""


class ForeignFuture(CallError, ValueError):
    """A future belongs to another flow run."""


class GraphCycle(CallError, ValueError):
    """A call would have to wait for itself."""


class MissingContextError(CallError, RuntimeError):
    """Asked for a run outside of one."""


class RunError(DataflowError):
    """A run did not give a result."""


class FailedRun(RunError):
    """The run FAILED and left no exception to raise."""


class MapGivenUp(FailedRun):
    """More elements of a map failed than ``max_failures`` allows; the rest was cancelled."""


class CrashedRun(RunError):
    """The infrastructure under the run failed."""


class WorkerLost(CrashedRun):
    """The worker died while it ran the task, more often than the limit of crashes allows."""


class SchedulerLost(CrashedRun):
    """The connection to the Dask scheduler is gone and with it all that was in flight."""


class CancelledRun(RunError):
    """The run was cancelled."""


class PausedRun(RunError):
    """The run is paused."""


class UnfinishedRun(RunError, RuntimeError):
    """The run is not in a final state."""


class UpstreamTaskError(UnfinishedRun):
    """The task did not run since one upstream of it failed; that one's exception is chained."""


class MissingResult(RunError):
    """The run completed but its value is not there any more."""


class CorruptResult(MissingResult):
    """A result that was kept cannot be had: its bytes are damaged, gone, or cannot be loaded.

    Fields: ``name`` (of the entry), ``reason``.
    """


class TaskRunTimeoutError(RunError, TimeoutError):
    """The task took longer than ``timeout_seconds``."""


class FlowRunTimeoutError(RunError, TimeoutError):
    """The flow function took longer than ``timeout_seconds``."""


class RemoteError(RunError):
    """Stands for an exception that could not cross a process border.

    Its text and traceback are those of the original.
    """


class TransportError(DataflowError):
    """Something cannot cross a process border."""


class UnpicklableArgument(TransportError, TypeError):
    """An argument cannot be pickled; the text names the task and the argument."""


class UnpicklableResult(TransportError, TypeError):
    """A result cannot be pickled; the text names the task."""


class UnserializableResult(TransportError, TypeError):
    """A result's serializer cannot hold it; the text names the type and what to do."""


class UnpicklableTask(TransportError, TypeError):
    """A task's function cannot be pickled."""


class MissingModule(TransportError, ImportError):
    """A module that the task needs is not installed on the worker."""


class BlockLost(TransportError, LookupError):
    """Values that no worker holds any more."""


class NotCacheable(DataflowError, TypeError):
    """A value, or the code of a function, has no cache key; nothing was looked up.

    Fields: ``path`` (the part at fault, ``args['cfg'].lock``), ``reason`` (``is a _thread.lock``).
    """

    @classmethod
    def because(cls, path: str, reason: str, what_to_do: str) -> NotCacheable:
        """Return the error for that part, with a text that names it and the ways out."""
        text = f"not cacheable because {path} {reason}: {what_to_do}"
        return cls(text, path=path, reason=reason)


class IllegalStateMove(DataflowError, RuntimeError):
    """A run cannot go from the state it is in to that one; it stays where it is."""


class StoreError(DataflowError, OSError):
    """The run store failed; what was to be written was not."""


class StoreVersionError(StoreError):
    """The store was written by a newer version."""


class RunFenced(StoreError):
    """Another process took the flow run over; what this one wanted to write was not written.

    Fields: ``flow_run_id``, ``owner`` (who has it now; None where it gave the run back).
    """


class ResumeError(DataflowError, RuntimeError):
    """A flow run cannot go on; nothing was begun. The text says why and what to do."""


class RunOwned(DataflowError, RuntimeError):
    """Another process drives the flow run; nothing was begun.

    Fields: ``flow_run_id``, ``owner`` (host:pid:start), ``until_s`` (epoch seconds of its lease).
    """


class CodeSourceError(DataflowError, OSError):
    """A deployment's code cannot be brought here, or is refused; no run was begun with it.

    Fields: ``url`` (without credentials), ``reason`` (a word or two: ``"refused"``,
    ``"unreachable"``, ``"no such ref"``, …).
    """


class ResultStorageError(DataflowError, OSError):
    """A result storage failed, or refuses what is in it; nothing was written.

    Fields: ``location``, ``reason`` (a word or two, e.g. ``"full"``, ``"refused"``).
    """


class ShellError(DataflowError, RuntimeError):
    """A command ended with another exit code than 0, or could not be started.

    Fields: ``command``, ``exit_code`` (None where it did not start), ``pid``, ``lines`` (its last
    ones), ``elapsed_s``.
    """


class ShellTimeoutError(ShellError, TimeoutError):
    """A command was killed, with all it had started, at its timeout."""

    if not TYPE_CHECKING:  # RuntimeError's comes first, and does not fit the layout
        __new__ = TimeoutError.__new__


class AlertError(DataflowError):
    """A message of an alert was not delivered; no run is delayed or fails by it."""


class ChannelError(AlertError, OSError):
    """A channel did not take a message; it is tried again.

    Fields: ``channel`` (without its secrets), ``reason`` (a word or two, e.g. ``"timeout"``),
    ``status`` (of an HTTP answer), ``retry_after_s`` (where the channel asked to wait).
    """


class ChannelRefused(AlertError, ValueError):
    """A channel cannot be used as it is, or may not be; nothing was sent. Settings must change.

    Fields: ``channel`` (without its secrets), ``reason``.
    """


class RunNotFound(DataflowError, LookupError):
    """No run answers to that name, or several do."""


class DeploymentNotFound(DataflowError, LookupError):
    """No deployment or schedule answers to that name, or several do."""


class ServerError(DataflowError, OSError):
    """The service cannot be started as it is asked to, or does not answer.

    Fields: ``address``, ``reason`` (a word or two, e.g. ``"in use"``).
    """


class RequestRefused(DataflowError, ValueError):
    """A request to the service is wrong; nothing was done.

    Fields: ``status`` (of the answer), ``what_to_do``, ``headers`` (of the answer),
    ``problems`` (where and what, of each part that is wrong).
    """


class SettingsError(DataflowError, ValueError):
    """A setting has a value that cannot be used."""


PrefectException = DataflowError
SignatureMismatchError = ParameterBindError
InvalidNameError = DefinitionError
ObjectNotFound = RunNotFound
ConfigurationError = SettingsError
