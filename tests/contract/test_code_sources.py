"""Code reaches a worker: out of real git repositories and zips, into folders of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dataflow.deployments import git_sources
from dataflow.deployments.archive_sources import fetch_archive
from dataflow.deployments.archive_unpacking import unpack
from dataflow.deployments.code_cache import fresh_folder
from dataflow.deployments.code_sources import Fetched, Source
from dataflow.deployments.git_command import GitTimeout, git
from dataflow.entrypoints import load_flow
from dataflow.exceptions import CodeSourceError
from tests.git_support import Repository

FLOW = "from dataflow import flow\n\n@flow\ndef main():\n    return {!r}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a bare repository with one commit on main."""
    made = Repository(tmp_path / "code.git", tmp_path / "work")
    made.commit({"flows/nightly_one.py": FLOW.format("one"), "README": "one"})
    return made


def folders(home: Path) -> list[str]:
    """Return what is there of fetched code, but for the locks of those who use it."""
    return sorted(each.name for each in home.glob("code/*/*/*")
                  if not each.name.startswith(".use-"))


# ---- git


def test_branch_is_fetched_into_a_folder_per_commit(home: Path, repository: Repository) -> None:
    first = repository.head()
    source = Source.parse(f"{repository.url}@main#subfolder=flows")
    got = source.fetch(home)
    assert got == Fetched(folder=got.folder, revision=first)
    assert got.folder.parent.name == first and got.folder.parent.parent.parent.name == "git"
    assert load_flow("nightly_one.py:main", got.folder).fn() == "one"
    second = repository.commit({"flows/nightly_one.py": FLOW.format("two")})
    moved = source.fetch(home)
    assert moved.revision == second and "two" in (moved.folder / "nightly_one.py").read_text()
    assert "one" in (got.folder / "nightly_one.py").read_text()
    assert folders(home) == sorted([first, second])


@pytest.mark.parametrize("ref", ["", "@main", "@v1", "@annotated", "@refs/tags/v1", "@{commit}"])
def test_every_kind_of_ref_gives_its_commit(
    home: Path, repository: Repository, ref: str
) -> None:
    commit = repository.head()
    repository.git("tag", "v1")
    repository.git("tag", "-a", "annotated", "-m", "note")
    repository.push()
    got = Source.parse(repository.url + ref.format(commit=commit)).fetch(home)
    assert got.revision == commit and (got.folder / "README").read_text() == "one"


@pytest.mark.parametrize("protocol", ["0", "2"])  # by the older a server gives refs alone
def test_older_commit_that_no_ref_names_is_fetched(
    home: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    first = repository.head()
    repository.commit({"README": "two"})
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", protocol)
    got = Source.parse(f"{repository.url}@{first}").fetch(home)
    assert got.revision == first and (got.folder / "README").read_text() == "one"
    assert (got.folder / ".git" / "shallow").exists() is (protocol == "2")


def test_commit_that_is_here_needs_neither_network_nor_credentials(
    home: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.head()
    source = Source.parse(f"{repository.url}@{commit}")
    before = source.fetch(home)
    repository.bare.rename(repository.bare.with_name("away"))

    def no_git(*args: object, **options: object) -> None:
        raise AssertionError("git was asked")

    monkeypatch.setattr(git_sources, "git", no_git)
    assert source.fetch(home) == before
    key = Source.parse("git+https://${NOT_SET}@nowhere.invalid/code.git@" + commit)
    with pytest.raises(CodeSourceError, match="NOT_SET"):
        key.fetch(home)  # of another repository, so that it is not here


def test_branch_of_a_repository_that_cannot_be_reached_says_what_git_said(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(CodeSourceError) as caught:
        Source.parse(f"git+file://{tmp_path}/gone.git@main").fetch(home)
    text = str(caught.value)
    assert f"git+file://{tmp_path}/gone.git cannot be asked. Git said: " in text
    assert "does not appear to be a git repository" in text and "What to do" in text
    assert caught.value.reason == "unreachable" and folders(home) == []


@pytest.mark.parametrize("ref, said", [
    ("gone", "has no branch or tag 'gone'."),
    ("abcdef1", "A commit is given with all its 40 digits"),
    ("0" * 39 + "1", f"has no commit {'0' * 39}1."),
])
def test_ref_that_is_not_there_is_named(
    home: Path, repository: Repository, ref: str, said: str
) -> None:
    with pytest.raises(CodeSourceError) as caught:
        Source.parse(f"{repository.url}@{ref}").fetch(home)
    assert said in str(caught.value) and caught.value.reason == "no such ref"
    assert folders(home) == []


def test_branch_and_tag_of_one_name_must_be_told_apart(
    home: Path, repository: Repository
) -> None:
    first = repository.head()
    repository.git("tag", "main")
    repository.commit({"README": "two"})
    with pytest.raises(CodeSourceError, match="refs/heads/main or refs/tags/main"):
        Source.parse(f"{repository.url}@main").fetch(home)
    assert Source.parse(f"{repository.url}@refs/tags/main").fetch(home).revision == first


def test_empty_repository_has_no_default_branch(home: Path, tmp_path: Path) -> None:
    empty = Repository(tmp_path / "empty.git", tmp_path / "nothing")
    with pytest.raises(CodeSourceError, match="has no default branch"):
        Source.parse(empty.url).fetch(home)


def test_folders_are_for_the_owner_alone(home: Path, repository: Repository) -> None:
    got = Source.parse(repository.url).fetch(home)
    above = [got.folder, *got.folder.parents[:3]]
    assert [folder.name for folder in above[1:]][1:] == ["git", "code"]
    assert {stat.S_IMODE(os.stat(folder).st_mode) for folder in above} == {0o700}


def test_folder_that_others_can_write_to_is_refused(home: Path, repository: Repository) -> None:
    (home / "code").mkdir(parents=True)
    (home / "code").chmod(0o777)
    with pytest.raises(CodeSourceError, match="it is not yours alone"):
        Source.parse(repository.url).fetch(home)
    assert list((home / "code").iterdir()) == []


def test_subfolder_must_be_there_and_lead_nowhere_else(
    home: Path, repository: Repository
) -> None:
    with pytest.raises(CodeSourceError, match="has no folder 'gone'"):
        Source.parse(f"{repository.url}#subfolder=gone").fetch(home)
    (repository.work / "out").symlink_to("/")
    repository.commit({})
    with pytest.raises(CodeSourceError, match="'out' leads out of the source"):
        Source.parse(f"{repository.url}#subfolder=out").fetch(home)


def test_many_processes_fetch_one_commit_at_once(home: Path, repository: Repository) -> None:
    script = ("import sys; from dataflow.deployments import Source; "
              "print(Source.parse(sys.argv[1]).fetch(sys.argv[2]).folder)")
    runs = [subprocess.Popen([sys.executable, "-c", script, repository.url, str(home)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(5)]
    ends = [(*run.communicate(timeout=100), run.returncode) for run in runs]
    assert {code for _, _, code in ends} == {0}, ends
    assert len({out for out, _, _ in ends}) == 1
    assert folders(home) == [repository.head()]


def test_what_a_killed_process_left_is_not_taken_for_whole_and_is_taken_away(
    home: Path, repository: Repository
) -> None:
    script = """
import os, signal, sys
from dataflow.deployments import Source, git_sources
done = git_sources._done
def cut_off(repository, fresh, *args):
    if args[0] == "checkout":
        (fresh / "README").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return done(repository, fresh, *args)
git_sources._done = cut_off
Source.parse(sys.argv[1]).fetch(sys.argv[2])
"""
    done = subprocess.run([sys.executable, "-c", script, repository.url, str(home)], check=False)
    assert done.returncode == -9
    assert [name.startswith(".new-") for name in folders(home)] == [True]
    got = Source.parse(repository.url).fetch(home)
    assert (got.folder / "README").read_text() == "one"
    assert folders(home) == [repository.head()]


def test_temporary_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with fresh_folder(tmp_path) as first, fresh_folder(tmp_path) as second:
        assert first.is_dir() and second.is_dir() and first != second
    assert list(tmp_path.iterdir()) == []


def test_variables_and_settings_around_do_not_lead_git_astray(
    home: Path, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    got = Source.parse(repository.url).fetch(home)
    assert got.revision == repository.head(bare=True)
    assert (got.folder / "README").read_text() == "one"


def test_credentials_stand_in_no_error_no_command_line_and_no_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[str, ...], object]] = []

    def failing(*args: str, config: object, **options: object) -> git_sources.Said:
        asked.append((args, config))
        return git_sources.Said(128, "", "fatal: unable to access "
                                "'https://me:s3cr3t%2F@nowhere.invalid/code.git/': s3cr3t/")

    monkeypatch.setattr(git_sources, "git", failing)
    monkeypatch.setenv("TOKEN", "s3cr3t/")
    for source in ("git+https://me:s3cr3t%2F@nowhere.invalid/code.git@main",
                   "git+https://me:${TOKEN}@nowhere.invalid/code.git@main"):
        with pytest.raises(CodeSourceError) as caught:
            Source.parse(source).fetch(home)
        assert "s3cr3t" not in str(caught.value) + caught.value.url
        assert "git+https://***@nowhere.invalid/code.git cannot be asked" in str(caught.value)
        args, config = asked[-1]
        assert "https://nowhere.invalid/code.git" in args and "s3cr3t" not in str(args)
        assert config == {"url.https://me:s3cr3t%2F@nowhere.invalid/.insteadOf":
                          "https://nowhere.invalid/"}
    assert len({folder.name for folder in home.glob("code/git/*")}) == 1
    assert not any("s3cr3t" in str(path) for path in home.rglob("*"))


def test_git_that_does_not_answer_is_ended_with_all_it_started(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text(f"#!/bin/sh\nsleep 600 & echo $! >{tmp_path}/pid; wait\n")
    stuck.chmod(0o700)
    with pytest.raises(GitTimeout):
        git("-c", f"alias.stuck=!{stuck}", "stuck", timeout_s=2.0)
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_timeout_of_git_is_told(
    home: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: str, **options: object) -> None:
        raise GitTimeout

    monkeypatch.setattr(git_sources, "git", slow)
    with pytest.raises(CodeSourceError, match="git gave no answer in 5 s") as caught:
        Source.parse(repository.url).fetch(home, timeout_s=5.0)
    assert caught.value.reason == "timeout"


def test_machine_without_git_says_so(
    home: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CodeSourceError, match="install git"):
        Source.parse(repository.url).fetch(home)


# ---- zips


def make_zip(path: Path, files: dict[str, str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return sha256(path.read_bytes()).hexdigest()


def test_zip_is_unpacked_into_a_folder_by_its_checksum(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "my code.zip"
    digest = make_zip(file, {"app/flows/nightly_zip.py": FLOW.format("zip"), "app/data/": ""})
    source = Source.parse(f"file://{tmp_path}/my%20code.zip#subfolder=app")
    got = source.fetch(home)
    assert got.revision == f"sha256:{digest}" and got.folder.parent.name == digest
    assert load_flow("flows/nightly_zip.py:main", got.folder).fn() == "zip"
    assert stat.S_IMODE(os.stat(got.folder / "flows/nightly_zip.py").st_mode) == 0o600
    assert source.fetch(home) == got
    other = make_zip(file, {"app/other": ""})
    assert source.fetch(home).revision == f"sha256:{other}"
    assert folders(home) == sorted([digest, other])


def test_zip_of_a_known_checksum_is_not_asked_for_again(home: Path, tmp_path: Path) -> None:
    digest = make_zip(tmp_path / "code.zip", {"a": "1"})
    source = Source.parse({"url": f"file://{tmp_path}/code.zip", "sha256": digest})
    got = source.fetch(home)
    (tmp_path / "code.zip").unlink()
    assert source.fetch(home) == got


def test_zip_with_another_checksum_is_refused(home: Path, tmp_path: Path) -> None:
    digest = make_zip(tmp_path / "code.zip", {"a": "1"})
    with pytest.raises(CodeSourceError, match=f"has the checksum {digest}") as caught:
        Source.parse(f"file://{tmp_path}/code.zip#sha256={'0' * 64}").fetch(home)
    assert caught.value.reason == "wrong checksum" and folders(home) == []


def test_zip_comes_from_any_file_system_of_fsspec(home: Path, tmp_path: Path) -> None:
    import fsspec

    digest = make_zip(tmp_path / "code.zip", {"a": "1"})
    with fsspec.open("memory://shelf/code.zip", "wb") as out:
        out.write((tmp_path / "code.zip").read_bytes())
    got = Source.parse("memory://shelf/code.zip").fetch(home)
    assert got.revision == f"sha256:{digest}" and (got.folder / "a").read_text() == "1"


def test_zip_comes_from_s3(home: Path, tmp_path: Path, s3_options: dict[str, Any],
                           monkeypatch: pytest.MonkeyPatch) -> None:
    from dataflow.storages.object_store import S3Storage

    digest = make_zip(tmp_path / "code.zip", {"a": "1" * 2000})
    whole = (tmp_path / "code.zip").read_bytes()
    S3Storage("s3://results/code", **s3_options).write("app.zip", [whole])
    for name, option in (("AWS_ENDPOINT_URL", "endpoint"), ("AWS_REGION", "region"),
                         ("AWS_ACCESS_KEY_ID", "access_key_id"),
                         ("AWS_SECRET_ACCESS_KEY", "secret_access_key")):
        monkeypatch.setenv(name, s3_options[option])
    got = Source.parse("s3://results/code/app.zip").fetch(home)
    assert got.revision == f"sha256:{digest}" and (got.folder / "a").read_text() == "1" * 2000
    with pytest.raises(CodeSourceError, match="gone.zip cannot be fetched"):
        Source.parse("s3://results/code/gone.zip").fetch(home)
    with pytest.raises(CodeSourceError, match="is refused") as caught:
        fetch_archive("s3://results/code/app.zip", None, None, home, limit_bytes=len(whole) - 1)
    assert caught.value.reason == "too large"


@pytest.mark.parametrize("url, said", [
    ("memory://shelf/gone.zip", "memory://shelf/gone.zip cannot be fetched: FileNotFoundError"),
    ("file:///nowhere/gone.zip", "see that the zip is there"),
    ("unheardof://host/gone.zip", "install the package that serves unheardof://"),
])
def test_zip_that_cannot_be_had_is_named(home: Path, url: str, said: str) -> None:
    with pytest.raises(CodeSourceError) as caught:
        Source.parse(url).fetch(home)
    assert said in str(caught.value) and caught.value.reason == "unreachable"
    assert folders(home) == []


def test_zip_that_is_too_large_is_refused(home: Path, tmp_path: Path) -> None:
    make_zip(tmp_path / "code.zip", {"a": "x" * 2000})
    with pytest.raises(CodeSourceError, match="is refused") as caught:
        fetch_archive(f"file://{tmp_path}/code.zip", None, None, home, limit_bytes=1000)
    assert caught.value.reason == "too large" and folders(home) == []


def test_zip_that_unpacks_to_too_much_is_refused_whatever_it_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 5_000_000)
        archive.writestr("b", b"\0" * 5_000_000)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(CodeSourceError, match="unpacks to more than 7 MB"):
        unpack(tmp_path / "bomb.zip", into, "bomb.zip", limit_bytes=7 << 20)
    assert sum(file.stat().st_size for file in into.rglob("*")) <= 9 << 20


def entry(name: str, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    info.create_system, info.external_attr = 3, (kind | 0o644) << 16
    return info


@pytest.mark.parametrize("info", [
    entry("../evil"), entry("a/../../evil"), entry("/evil"), entry("..\\evil"), entry("C:/evil"),
    entry("C:evil"), entry(".."), entry("a/.."), entry("./"),
    entry("link", stat.S_IFLNK), entry("pipe", stat.S_IFIFO), entry("device", stat.S_IFCHR),
], ids=lambda info: f"{info.filename}-{info.external_attr >> 28}")
def test_entry_that_leads_out_or_is_no_file_refuses_the_whole_zip(
    home: Path, tmp_path: Path, info: zipfile.ZipInfo
) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("good.py", "1")
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(CodeSourceError, match="is refused: its entry"):
        Source.parse(f"file://{tmp_path}/code.zip").fetch(home)
    assert folders(home) == []
    assert {each.name for each in tmp_path.iterdir()} == {"code.zip", "home"}


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/"), ("a/b", "a"), ("a", "a/b")])
def test_names_that_meet_are_refused(home: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name in names:
            archive.writestr(entry(name), "")
    with pytest.raises(CodeSourceError):
        Source.parse(f"file://{tmp_path}/code.zip").fetch(home)
    assert folders(home) == []


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: b"no zip", lambda data: data[:-30],
    lambda data: data.replace(b"the text", b"xxx text", 1),
])
def test_damaged_zip_is_refused(home: Path, tmp_path: Path, damage: object) -> None:
    make_zip(tmp_path / "whole.zip", {"a": "the text"})
    data = damage((tmp_path / "whole.zip").read_bytes())  # type: ignore[operator]
    (tmp_path / "code.zip").write_bytes(data)
    with pytest.raises(CodeSourceError) as caught:
        Source.parse(f"file://{tmp_path}/code.zip").fetch(home)
    assert caught.value.reason == "damaged" and folders(home) == []


def test_one_zip_is_fetched_by_many_at_once(home: Path, tmp_path: Path) -> None:
    digest = make_zip(tmp_path / "code.zip", {f"f{n}": "x" * 1000 for n in range(200)})
    source = Source.parse(f"file://{tmp_path}/code.zip")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: source.fetch(home), range(8)))
    assert len(set(got)) == 1 and folders(home) == [digest]
    assert len(list(got[0].folder.iterdir())) == 200


# ---- folders


def test_local_folder_is_taken_where_it_is(home: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Source.parse(None).fetch(home) == Fetched(folder=tmp_path)
    assert Source.parse(str(tmp_path)).fetch(home) == Fetched(folder=tmp_path)
    with pytest.raises(CodeSourceError, match=r"gone is not on this machine"):
        Source.parse("gone").fetch(home)
    assert not home.exists()
