"""The texts of sources: what they name, what is refused, and what nobody gets to read."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.deployments.code_sources import Source
from dataflow.deployments.source_urls import masked_url, secrets_in, with_variables
from dataflow.exceptions import CodeSourceError

GIT = {"kind": "git", "url": "https://example.org/code.git"}


@pytest.mark.parametrize("text, parts", [
    ("git+https://example.org/code.git", GIT),
    ("git+https://example.org/code.git@v1", GIT | {"ref": "v1"}),
    ("git+https://example.org/code.git@feature/x#subfolder=a/b",
     GIT | {"ref": "feature/x", "subfolder": "a/b"}),
    ("git+https://example.org/code.git#subdirectory=a%20b/", GIT | {"subfolder": "a b"}),
    ("git+ssh://git@example.org/code.git@main",
     {"kind": "git", "url": "ssh://git@example.org/code.git", "ref": "main"}),
    ("git+ssh://git@example.org:22/code.git",
     {"kind": "git", "url": "ssh://git@example.org:22/code.git"}),
    ("git+file:///srv/a%40b/code.git@main",
     {"kind": "git", "url": "file:///srv/a%40b/code.git", "ref": "main"}),
    ({"url": "git+file:///srv/a@b/code.git"}, {"kind": "git", "url": "file:///srv/a%40b/code.git"}),
    ({"url": "git+https://me@example.org/code.git", "ref": "v1", "subfolder": None},
     {"kind": "git", "url": "https://me@example.org/code.git", "ref": "v1"}),
    ("s3://bucket/code.zip#subfolder=app",
     {"kind": "archive", "url": "s3://bucket/code.zip", "subfolder": "app"}),
    ("file:///srv/code.zip#sha256=" + "a" * 64,
     {"kind": "archive", "url": "file:///srv/code.zip", "sha256": "a" * 64}),
    ("memory://code.zip", {"kind": "archive", "url": "memory://code.zip"}),
    ("/srv/flows", {"kind": "folder", "url": "/srv/flows"}),
    ("flows#1@x", {"kind": "folder", "url": "flows#1@x"}),
    (None, {"kind": "folder", "url": "."}),
])
def test_text_or_mapping_names_a_source_and_is_read_again(
    text: Any, parts: dict[str, str]
) -> None:
    found = Source.parse(text)
    assert found == Source(**parts)  # type: ignore[arg-type]
    assert Source.parse(found.text()) == found and Source.parse(found.to_json()) == found


def test_folder_is_relative_to_the_base() -> None:
    assert Source.parse("../flows", "/srv/app").url == "/srv/flows"
    assert Source.parse(None, "/srv/app").url == "/srv/app"
    assert Source.parse("/other", "/srv/app").url == "/other"
    assert Source.parse("git+https://example.org/a.git", "/srv/app").kind == "git"


@pytest.mark.parametrize("given, said", [
    ("git+ext::sh -c touch% /tmp/x", "is refused"),
    ("ext::sh -c id", "chained URLs"),
    ("git+ext://sh", "is refused: git is asked by git+https://"),
    ("git+fd://17/x", "is refused"),
    ("git+http://example.org/code.git", "over plain http anybody"),
    ("git+git://example.org/code.git", "is refused"),
    ("git+--upload-pack=id://x", "is refused"),
    ("git+ssh://-oProxyCommand=id/code.git", "names no host"),
    ("git+ssh://-oProxyCommand=id@example.org/code.git", "names no host"),
    ("git+https:///code.git", "names no host"),
    ("git+https://example.org/", "names no repository"),
    ("git+ssh://example.org/-x", "names no repository"),
    ("git+file://code.git", "git+file:///absolute"),
    ("git+https://example.org/code.git?x=1", "no query"),
    ("git+https://example.org/a b.git", "no spaces"),
    ("git+https://example.org:port/a.git", "is no URL"),
    ("git+https://example.org/code.git@-x", "no branch, tag or commit"),
    ("git+https://example.org/code.git@", "no branch, tag or commit"),
    ("git+https://example.org/code.git@a..b", "no branch, tag or commit"),
    ("git+https://example.org/code.git@refs/*", "no branch, tag or commit"),
    ({"url": "git+https://example.org/code.git", "ref": "--upload-pack=id"}, "no branch"),
    ({"url": "git+https://example.org/code.git", "ref": "a b"}, "no branch"),
    ("git+https://example.org/code.git#branch=x", "stand subfolder="),
    ("git+https://example.org/code.git#subfolder=../x", "leads out of the source"),
    ("git+https://example.org/code.git#subfolder=/etc", "leads out of the source"),
    ("git+https://example.org/code.git#subfolder=a/.GIT/b", "leads out of the source"),
    ("git+https://example.org/code.git#sha256=" + "a" * 64, "sha256 is for archives"),
    ("https://example.org/code.git", "write git+https://example.org/code.git"),
    ("ssh://git@example.org/code.git", "write git+ssh://"),
    ("git@example.org:org/code.git", "write git+ssh://git@example.org/org/code.git"),
    ("simplecache::s3://bucket/code.zip", "chained URLs"),
    ("file:///srv/app", "is no zip"),
    ("s3://bucket/code.zip#sha256=xyz", "64 hex digits"),
    ({"url": "s3://bucket/code.zip", "ref": "main"}, "ref is for git"),
    ({"url": "/srv/app", "subfolder": "x"}, "is a folder"),
    ({"ulr": "x"}, "source has no 'ulr'"),
    ({"url": 3}, "source.url must be a text"),
    ({}, "source.url is missing"),
    ("", "source is empty"),
    ("a\nb", "one line"),
    ("a\0b", "one line"),
    ("a\ud800", "half a character"),
    (3, "3 is no source"),
])
def test_source_that_is_refused_says_why(given: Any, said: str) -> None:
    with pytest.raises(CodeSourceError) as caught:
        Source.parse(given)
    assert said in str(caught.value) and caught.value.reason == "refused"


@pytest.mark.parametrize("text, shown", [
    ("git+https://me:secret@example.org/a.git@v1", "git+https://***@example.org/a.git@v1"),
    ("git+https://ghp_token@example.org/a.git", "git+https://***@example.org/a.git"),
    ("git+ssh://git@example.org/a.git", "git+ssh://git@example.org/a.git"),
    ("git+ssh://git:secret@example.org/a.git", "git+ssh://git:***@example.org/a.git"),
    ("https://example.org/a.zip?X-Sig=secret&b=1#subfolder=x",
     "https://example.org/a.zip?***#subfolder=x"),
    ("from https://a:b@c/ and https://d:e@f/", "from https://***@c/ and https://***@f/"),
])
def test_credentials_are_masked(text: str, shown: str) -> None:
    assert masked_url(text) == shown


def test_refusal_shows_no_credentials() -> None:
    for text in ("git+http://me:secret@example.org/a.git", "git+https://me:secret@example.org/a b",
                 "git+https://me:secret@example.org/a.git@-x",
                 "git+https://me:secret@example.org/a.git#x=1"):
        with pytest.raises(CodeSourceError) as caught:
            Source.parse(text)
        assert "secret" not in str(caught.value) + caught.value.url


def test_secrets_of_a_url_are_known_as_written_and_as_meant() -> None:
    assert secrets_in("https://me:p%40ss@example.org/a?k=va%20lue") >= {"p%40ss", "p@ss", "va lue"}
    assert secrets_in("ssh://git@example.org/a") == set()


@pytest.mark.parametrize("text, has", [
    ("git+https://me:secret@example.org/a.git", True), ("git+https://tok@example.org/a.git", True),
    ("git+https://${USER}:${TOKEN}@example.org/a.git", False),
    ("git+ssh://git@example.org/a.git", False), ("git+ssh://git:pw@example.org/a.git", True),
    ("https://example.org/a.zip?X-Amz-Signature=1", True), ("https://example.org/a.zip?v=2", False),
    ("/srv/me:x@y", False),
])
def test_source_knows_whether_it_holds_a_secret(text: str, has: bool) -> None:
    assert Source.parse(text).has_credentials is has


def test_variables_are_filled_in_for_user_and_password_alone(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a/b@c")
    assert with_variables("https://me:${TOKEN}@example.org/${TOKEN}") == (
        "https://me:a%2Fb%40c@example.org/${TOKEN}")
    with pytest.raises(CodeSourceError, match="needs the variable GONE"):
        with_variables("https://${GONE}@example.org/a")
