"""What a run computes stays where its worker is: the store gets none of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unattended_support import Site

MARK = "4a7d1ed414474e4033ac29ccb8653d9b"

FLOWS = '''
    from pathlib import Path
    from dataflow import flow, get_run_logger, task

    @task
    def load(path):
        return Path(path).read_text().splitlines()

    @task(persist_result=True)
    def cleaned(line):
        return {"line": line, "upper": line.upper()}

    @task
    def joined(rows):
        return "|".join(row["line"] for row in rows)

    @flow(persist_result=True)
    def report(path, out):
        lines = load(path)
        get_run_logger().info("%d lines", len(lines))
        whole = joined(cleaned.map(lines))
        Path(out).write_text(whole)
        return whole
'''


@pytest.fixture
def site(tmp_path: Path, dataflow_home: Path) -> Iterator[Site]:
    made = Site(tmp_path, FLOWS)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgres":
        monkeypatch.setenv("DATAFLOW_STORE", request.getfixturevalue("postgres_url"))
    return str(request.param)


def everything_in_the_store(home: Path, place: str, url: str | None) -> bytes:
    """Return every byte that the store holds."""
    if place == "sqlite":
        return b"".join(path.read_bytes() for path in home.glob("dataflow.db*"))
    import psycopg

    assert url is not None
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables]
    return b"\n".join(
        cell if isinstance(cell, bytes) else str(cell).encode()
        for table in rows for row in table for cell in row)


def test_nothing_of_the_data_is_in_the_store(
    site: Site, place: str, dataflow_home: Path, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue("postgres_url") if place == "postgres" else None
    data, out = tmp_path / "data.txt", tmp_path / "out.txt"
    data.write_text("\n".join(f"{MARK}-{at}" for at in range(200)))
    site.deploy("report", parameters={"path": str(data), "out": str(out)})
    site.worker("--limit", "1")
    ended = site.ended(site.ask("report/d"))
    assert ended.state_type == "COMPLETED", site.said()
    assert out.read_text().count(MARK) == 200
    kept = b"".join(path.read_bytes() for path in (dataflow_home / "results").rglob("*")
                    if path.is_file())
    stored = everything_in_the_store(dataflow_home, place, url)
    assert b"200 lines" in stored and str(data).encode() in stored  # it is what was read
    assert MARK.encode() not in stored and MARK.upper().encode() not in stored
    assert kept  # the results are with the worker
    assert json.loads(ended.parameters)["path"] == str(data)
