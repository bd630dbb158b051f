"""What docs/unattended.md shows is what is read."""

from __future__ import annotations

import re
from pathlib import Path

from dataflow.deployments.project_file import parse_project

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "unattended.md").read_text(encoding="utf-8")


def test_the_project_file_of_the_guide_has_no_mistakes(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(name: .*?)```", TEXT, re.DOTALL)
    project = parse_project(text, tmp_path / "dataflow.yaml")
    assert [(spec.full_name, spec.tags, spec.limit, spec.on_crash) for spec in project.specs] == [
        ("report/morning", ("prod",), None, "resume"), ("report/often", ("prod",), 1, "crash")]


def test_defaults_that_the_guide_names_are_those_of_schedules() -> None:
    from dataflow.schedules import Cron
    from dataflow.schedules.missed import ON_TIME

    schedule = Cron("0 4 * * *")
    assert (schedule.catch_up, schedule.overlap) == ("latest", "queue")
    assert f"late by at most {ON_TIME.seconds} s" in TEXT


def test_files_that_the_guide_links_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert links and [link for link in links if not (DOCS / link).exists()] == []
