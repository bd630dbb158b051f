"""How results become bytes and come back.

Lives here: the serializers under Prefect's names, and finding one by name.
Does not live here: tables (``table_serializers.py``: pyarrow is imported when it
is used), pickling rules (``pickling.py``), files (``packs/``).
"""

from __future__ import annotations

import abc
import json
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar

from dataflow.exceptions import DefinitionError, MissingModule, UnserializableResult
from dataflow.pickling import kept_pickle, load_pickle

__all__ = [
    "CompressedJSONSerializer", "CompressedPickleSerializer", "CompressedSerializer",
    "JSONSerializer", "ParquetSerializer", "PickleSerializer", "Serializer", "serializer_of",
]

GROUP = "dataflow.serializers"


class Serializer(abc.ABC):
    """Turn a value into bytes and back. Subclass it, and give the class a ``type``.

    An instance travels to workers and is kept beside the results that it wrote,
    so it has to pickle. A class of yours is found by name where its package
    declares it as an entry point of the group ``dataflow.serializers``.
    """

    type: ClassVar[str] = ""

    @abc.abstractmethod
    def dumps(self, obj: Any) -> bytes:
        """Return the value as bytes.

        Raises
        ------
        UnserializableResult
            The value cannot be held; the text names its type and what to do.
        """

    def dumps_sharing(self, obj: Any, classes: dict[bytes, bytes]) -> bytes:
        """Return the value as bytes; code that many values have in common goes to ``classes``."""
        return self.dumps(obj)

    @abc.abstractmethod
    def loads(self, blob: bytes) -> Any:
        """Return the value that :meth:`dumps` made the bytes of."""

    @property
    def spec(self) -> str | None:
        """Return the name under which :func:`serializer_of` makes an equal one, None if none."""
        return None


@dataclass(frozen=True)
class PickleSerializer(Serializer):
    """Any Python value: pickle where it will do, else ``picklelib``.

    Parameters
    ----------
    picklelib
        Module with ``dumps`` and ``loads``. ``"cloudpickle"`` stands for both: pickle
        for what other processes can import, cloudpickle for the rest.
    """

    picklelib: str = "cloudpickle"
    type: ClassVar[str] = "pickle"

    def __post_init__(self) -> None:
        if self.picklelib not in ("cloudpickle", "pickle"):
            _module(self.picklelib, "picklelib", ("dumps", "loads"))

    def dumps(self, obj: Any) -> bytes:
        """Return the pickle of a value; see the base class."""
        try:
            if self.picklelib == "cloudpickle":
                return kept_pickle(obj)
            data: bytes = import_module(self.picklelib).dumps(obj)
        except Exception as error:  # user values: __reduce__ may raise anything
            raise _unserializable(self, obj, error) from error
        return data

    def dumps_sharing(self, obj: Any, classes: dict[bytes, bytes]) -> bytes:
        """Return the pickle of a value; the code of the script's classes goes to ``classes``."""
        if self.picklelib != "cloudpickle":
            return self.dumps(obj)
        try:
            return kept_pickle(obj, classes)
        except Exception as error:  # user values: __reduce__ may raise anything
            raise _unserializable(self, obj, error) from error

    def loads(self, blob: bytes) -> Any:
        """Return the value of a pickle."""
        if self.picklelib == "cloudpickle":
            return load_pickle(blob)
        return import_module(self.picklelib).loads(blob)

    @property
    def spec(self) -> str | None:
        """Return ``"pickle"`` for the usual one."""
        return "pickle" if self.picklelib == "cloudpickle" else None


@dataclass(frozen=True)
class JSONSerializer(Serializer):
    """What JSON holds without loss: dict with str keys, list, str, int, float, bool, None.

    A tuple would come back as a list and a key 1 as ``"1"``: both are refused.
    """

    type: ClassVar[str] = "json"

    def dumps(self, obj: Any) -> bytes:
        """Return the value as JSON; see the base class."""
        try:
            _check_json(obj, "result")
            return json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode(
                "utf-8", "surrogatepass")
        except (TypeError, ValueError, RecursionError) as error:
            raise _unserializable(self, obj, error) from error

    def loads(self, blob: bytes) -> Any:
        """Return the value of a JSON text."""
        return json.loads(blob.decode("utf-8", "surrogatepass"))

    @property
    def spec(self) -> str | None:
        """Return ``"json"``."""
        return "json"


@dataclass(frozen=True)
class CompressedSerializer(Serializer):
    """Compress what another serializer makes.

    Parameters
    ----------
    serializer
        A serializer, or the name of one.
    compressionlib
        Module with ``compress`` and ``decompress``: ``lzma``, ``zlib``, ``bz2``, …
    """

    serializer: Any = "pickle"
    compressionlib: str = "lzma"
    type: ClassVar[str] = "compressed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "serializer", serializer_of(self.serializer))
        _module(self.compressionlib, "compressionlib", ("compress", "decompress"))

    def dumps(self, obj: Any) -> bytes:
        """Return the compressed bytes of a value; see the base class."""
        data: bytes = import_module(self.compressionlib).compress(self.serializer.dumps(obj))
        return data

    def loads(self, blob: bytes) -> Any:
        """Return the value of compressed bytes."""
        return self.serializer.loads(import_module(self.compressionlib).decompress(blob))

    @property
    def spec(self) -> str | None:
        """Return e.g. ``"compressed/json"`` where the library is the usual one."""
        inner = self.serializer.spec
        return f"compressed/{inner}" if inner and self.compressionlib == "lzma" else None


@dataclass(frozen=True)
class CompressedPickleSerializer(CompressedSerializer):
    """Compressed pickle."""


@dataclass(frozen=True)
class CompressedJSONSerializer(CompressedSerializer):
    """Compressed JSON."""

    serializer: Any = "json"


@dataclass(frozen=True)
class ParquetSerializer(Serializer):
    """Tables of pandas, polars or pyarrow, as Parquet; the kind comes back.

    Parameters
    ----------
    compression
        Of pyarrow: ``"zstd"``, ``"snappy"``, ``"gzip"``, ``"none"``, …
    """

    compression: str = "zstd"
    type: ClassVar[str] = "parquet"

    def dumps(self, obj: Any) -> bytes:
        """Return a table as Parquet; see the base class. MissingModule: pyarrow is missing."""
        from dataflow.table_serializers import dump_table

        try:
            return dump_table(obj, self.compression)
        except MissingModule:
            raise
        except Exception as error:  # pyarrow raises its own kinds for columns it cannot hold
            raise _unserializable(self, obj, error) from error

    def loads(self, blob: bytes) -> Any:
        """Return the table. MissingModule: what it was made with is missing."""
        from dataflow.table_serializers import load_table

        return load_table(blob)

    @property
    def spec(self) -> str | None:
        """Return ``"parquet"`` (the bytes say how they are compressed)."""
        return "parquet"


_BUILT_IN: dict[str, Any] = {
    "pickle": PickleSerializer, "json": JSONSerializer, "parquet": ParquetSerializer,
    "compressed": CompressedSerializer,
}


def serializer_of(spec: str | Serializer | None) -> Serializer:
    """Return the serializer that a name stands for.

    Parameters
    ----------
    spec
        ``"pickle"`` (also None), ``"json"``, ``"parquet"``, the name of an entry point of
        the group ``dataflow.serializers``, ``"compressed/NAME"``, or a serializer.

    Raises
    ------
    DefinitionError
        There is none of that name; the text lists those that there are.
    """
    if spec is None:
        return PickleSerializer()
    if isinstance(spec, Serializer):
        return spec
    if isinstance(spec, type) and issubclass(spec, Serializer):
        return spec()
    if not isinstance(spec, str):
        raise DefinitionError(
            f"result_serializer is {spec!r}, which is no serializer. Give a name such as "
            "'pickle' or 'compressed/json', or an object of a class derived from "
            "dataflow.serializers.Serializer.")
    if spec.startswith("compressed/"):
        return CompressedSerializer(spec.partition("/")[2])
    made = _BUILT_IN.get(spec)
    if made is None:
        made = _declared(spec)
    serializer: Serializer = made()
    return serializer


def _declared(name: str) -> Any:
    found = {each.name: each for each in entry_points(group=GROUP)}
    if name in found:
        return found[name].load()
    known = sorted({*_BUILT_IN, "compressed/pickle", "compressed/json", *found})
    raise DefinitionError(
        f"There is no serializer {name!r}. Known are: {', '.join(known)}. Others are declared by "
        f"packages as entry points of the group {GROUP!r}.", name=name)


def _module(name: str, field: str, needed: tuple[str, ...]) -> None:
    """Raise DefinitionError unless a module can be imported and has what is needed of it."""
    try:
        module = import_module(name)
    except ImportError as error:
        raise DefinitionError(f"{field}={name!r} cannot be imported: {error}.") from error
    missing = [each for each in needed if not callable(getattr(module, each, None))]
    if missing:
        raise DefinitionError(f"{field}={name!r} has no function {missing[0]!r}.")


def _check_json(value: Any, path: str) -> None:
    """Raise TypeError or ValueError at the first part that would not come back as it is."""
    kind = type(value)
    if value is None or kind in (str, int, bool):
        return
    if kind is float:
        return
    if kind is list:
        for at, item in enumerate(value):
            _check_json(item, f"{path}[{at}]")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{path} has the key {key!r}, and keys of JSON are str")
            _check_json(item, f"{path}[{key!r}]")
    else:
        raise TypeError(f"{path} is of type {kind.__module__}.{kind.__qualname__}, "
                        "which JSON would not give back")


def _unserializable(serializer: Serializer, obj: Any, error: BaseException) -> UnserializableResult:
    kind = type(obj)
    advice = {
        "json": "return what JSON holds (dict with str keys, list, str, numbers, bool, None), or "
                "use result_serializer='pickle'",
        "parquet": "return a table of pandas, polars or pyarrow, or use result_serializer='pickle'",
    }.get(serializer.type, "return plain data (a path instead of an open file, numbers instead of "
                           "a connection), or do not persist this result (persist_result=False)")
    return UnserializableResult(
        f"A result of type {kind.__module__}.{kind.__qualname__} cannot be kept by the "
        f"{serializer.type!r} serializer: {type(error).__name__}: {error}. "
        f"What to do: {advice}.",
        type=f"{kind.__module__}.{kind.__qualname__}", serializer=serializer.type)
