"""Looking at the files of a place: a folder, a bucket, any URL of fsspec.

Lives here: the listing, as plain values. Does not live here: what of it is new
(``sightings.py``), how often it is done (``service/file_watcher.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dataflow.exceptions import ResultStorageError
from dataflow.storages.fsspec_urls import date_of
from dataflow.triggers.file_globs import SPECIAL, base_of, regex_of

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ETAGS = ("ETag", "etag", "e_tag", "md5Hash", "content_md5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A file as it was seen.

    Attributes
    ----------
    url
        A path, or a whole URL.
    arrived_s
        When it came to that name, or changed there; not later.
    """

    url: str
    size: int
    mtime_s: float
    arrived_s: float
    etag: str | None = None
    mtime_ns: int | None = None

    @property
    def mark(self) -> str:
        """Return what is another when the file is another."""
        when = self.mtime_s if self.mtime_ns is None else self.mtime_ns
        return self.etag or f"{when}-{self.size}"


def look(url: str, options: Mapping[str, Any], ignore: Sequence[str]) -> dict[str, Sight]:
    """Return the files at a place, by URL.

    Parameters
    ----------
    url
        A folder or prefix, a glob, or one file.
    options
        For the file system; ``${VARIABLE}`` stands for one of the environment.
    ignore
        Globs of names of files and folders that do not count.

    Raises
    ------
    FileNotFoundError
        There is no such folder or bucket.
    OSError, ResultStorageError
        The place cannot be looked at; a library may raise errors of its own as well.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or scheme in ("file", "local"):
        return _in_folder(rest if mark else os.path.expanduser(url), ignore)
    filled = {name: _with_variables(each, name) for name, each in options.items()}
    if scheme in ("s3", "s3a"):
        try:
            import obstore  # noqa: F401  # only whether it is there
        except ImportError:
            pass
        else:
            return _in_bucket(rest, filled, ignore)
    return _by_fsspec(url, filled, ignore)


def concerns(url: str, ignore: Sequence[str], paths: Collection[str]) -> bool:
    """Tell whether one of some paths on this machine may be a file of a place, or a folder in it.

    Parameters
    ----------
    url, ignore
        As for :func:`look`.
    """
    base = os.path.abspath(os.path.expanduser(base_of(url)))
    for folder in {base, os.path.realpath(base)}:
        beneath = folder.rstrip("/") + "/"
        if any(path == folder or (path.startswith(beneath) and _counts(
                path[len(beneath):], ignore)) for path in paths):
            return True
    return False


def _with_variables(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value

    def filled(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise ResultStorageError(
                f"option {name} names the variable {found[1]}, which is not set where files are "
                "looked for", location="", reason="no credentials")
        return os.environ[found[1]]

    return _VARIABLE.sub(filled, value)


def _counts(name: str, ignore: Sequence[str]) -> bool:
    return not any(fnmatchcase(part, glob) for part in name.split("/") for glob in ignore)


# a folder


def _in_folder(path: str, ignore: Sequence[str]) -> dict[str, Sight]:
    path = os.path.abspath(path) + ("/" if path.endswith("/") else "")
    if not SPECIAL.search(path) and os.path.isfile(path):
        return {path: _seen(path, os.stat(path))}
    base = base_of(path).rstrip("/") if SPECIAL.search(path) else path.rstrip("/")
    if not os.path.isdir(base or "/"):
        one_file = not SPECIAL.search(path) and not path.endswith("/")
        if one_file and os.path.isdir(os.path.dirname(base)):
            return {}  # a file that is to come
        raise FileNotFoundError(f"there is no folder {base}")
    wanted = regex_of(path[len(base):].lstrip("/")) if SPECIAL.search(path) else None
    deep = wanted is None or "**" in path
    depth = None if deep else path[len(base):].strip("/").count("/")
    found = {}
    for entry in _walked(base or "/", ignore, depth):
        if wanted is None or wanted.fullmatch(os.path.relpath(entry.path, base or "/")):
            try:
                found[entry.path] = _seen(entry.path, entry.stat())
            except FileNotFoundError:  # it went a moment ago
                continue
    return found


def _walked(folder: str, ignore: Sequence[str], depth: int | None) -> Iterator[os.DirEntry[str]]:
    """Yield the files beneath a folder; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _counts(entry.name, ignore) or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth is None or depth > 0:
                    try:
                        yield from _walked(entry.path, ignore,
                                           None if depth is None else depth - 1)
                    except FileNotFoundError:
                        continue
            elif entry.is_file():
                yield entry


def _is_text(name: str) -> bool:
    """Tell whether a name is a text that can be kept; Linux allows any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _seen(path: str, facts: os.stat_result) -> Sight:
    return Sight(url=path, size=facts.st_size, mtime_s=facts.st_mtime, mtime_ns=facts.st_mtime_ns,
                 arrived_s=facts.st_ctime)  # of a file that was moved here: when it was


# a bucket, by obstore


def _in_bucket(place: str, options: dict[str, Any], ignore: Sequence[str]) -> dict[str, Sight]:
    import obstore

    from dataflow.storages.object_store import store_of

    bucket, _, path = place.partition("/")
    base = base_of(path)
    folder = base.rstrip("/") if not SPECIAL.search(path) else base.rpartition("/")[0]
    store = store_of(bucket, "", options)
    listed = [each for page in obstore.list(store, folder or None) for each in page]
    if not listed and not SPECIAL.search(path) and path and not path.endswith("/"):
        try:
            listed = [obstore.head(store, path)]
        except FileNotFoundError:
            listed = []
    found = {}
    for each in listed:
        name = each["path"]
        if _wanted(name, path, ignore):
            modified_s = each["last_modified"].timestamp()
            url = f"s3://{bucket}/{name}"
            found[url] = Sight(
                url=url, size=each["size"], mtime_s=modified_s, arrived_s=modified_s,
                etag=(each.get("e_tag") or "").strip('"') or None)
    return found


def _wanted(name: str, path: str, ignore: Sequence[str]) -> bool:
    """Tell whether a name in a bucket is of a place in it."""
    if SPECIAL.search(path):
        base = base_of(path)
        return bool(regex_of(path).fullmatch(name)) and _counts(name[len(base):], ignore)
    folder = path.rstrip("/")
    if name == folder:
        return not path.endswith("/")
    if folder and not name.startswith(folder + "/"):
        return False
    return _counts(name[len(folder):].lstrip("/"), ignore)


# any URL of fsspec


def _by_fsspec(url: str, options: dict[str, Any], ignore: Sequence[str]) -> dict[str, Sight]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ResultStorageError(
            f"{error}. What to do: install the package that serves it with fsspec", location=url,
            reason="extra missing") from error
    if url.endswith("/"):
        path = path.rstrip("/") + "/"
    fs.invalidate_cache()  # listings are remembered, and others write as well
    base = base_of(path) if SPECIAL.search(path) else path
    folder = base.rpartition("/")[0] if SPECIAL.search(path) else base.rstrip("/")
    found = {}
    for name, facts in fs.find(folder, detail=True).items():
        if facts.get("type", "file") == "file" and _wanted(
                name.lstrip("/"), path.lstrip("/"), ignore):
            whole = fs.unstrip_protocol(name)
            etag = next((str(facts[key]).strip('"') for key in _ETAGS if facts.get(key)), None)
            when_s = date_of(facts)
            found[whole] = Sight(url=whole, size=int(facts.get("size") or 0), mtime_s=when_s,
                                 arrived_s=when_s, etag=etag)
    return found
