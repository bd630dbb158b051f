"""Any text as a project file: specs, or an error that lists what is wrong; never anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataflow.deployments.project_file import parse_project
from dataflow.deployments.project_models import DeploymentEntry, ProjectModel, ScheduleEntry
from dataflow.deployments.spec import DeploymentSpec
from dataflow.exceptions import ProjectFileError

FILE = Path("/srv/shop/dataflow.yaml")
SCALARS = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
           | st.sampled_from(["a", "a.py:f", "pkg.mod:f", "git+https://h/r.git@v1", "skip", "all",
                              "ENQUEUE", "0 4 * * *", "x/y", "../x", "s3://b/c.zip", "\ud800"]))
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)
                   | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)


def keyed(model: Any, **near: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings with the keys of a model, and sometimes others, with likely values."""
    names = [name for name in model.model_fields if name not in near]
    return st.builds(
        lambda known, more: {**known, **more},
        st.fixed_dictionaries({}, optional=near),
        st.dictionaries(st.sampled_from(names) | st.text(max_size=4), ANY, max_size=3))


SCHEDULE = keyed(ScheduleEntry, cron=st.just("0 4 * * *"), interval=st.integers(-1, 5))
ENTRY = keyed(
    DeploymentEntry, name=st.sampled_from(["a", "b", "c", "a/b"]),
    entrypoint=st.sampled_from(["a.py:f", "p.m:f", "a.py", "/x.py:f", "a.py:f_g"]),
    schedules=st.lists(SCHEDULE, max_size=2), after=st.sampled_from(["a", "b", "f/a", "x/y/z"]),
    parameters=st.dictionaries(st.text(max_size=3), ANY, max_size=2))
PROJECT = keyed(ProjectModel, deployments=st.lists(ENTRY | ANY, max_size=4),
                defaults=keyed(DeploymentEntry, timezone=st.just("UTC")) | ANY)
YAML_PIECES = st.lists(st.sampled_from(
    ["deployments:", "- ", "name: a", "\n", "  ", "    ", "entrypoint: a.py:f", "{", "}", "[", "]",
     "&a ", "*a", "? ", ": ", "!!int ", "!!python/object:os.system ", "|\n", ">", '"', "'", "\\U",
     "ffffffff", "#", "---", "...", "%YAML 9.9", "%TAG ! x", "<<: ", "\t", "\x00", "\x85", "é",
     "1e9", "0x", "@", "`", ","]), max_size=40).map("".join)


def check(text: str) -> bool:
    try:
        project = parse_project(text, FILE)
    except ProjectFileError as error:
        lines = max(1, len(text.splitlines()) + 1)
        assert error.problems and all(
            each.text and (each.line is None or 1 <= each.line <= lines) for each in error.problems)
        assert len(str(error).encode()) > 0
        return False
    for spec in project.specs:
        assert DeploymentSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    return True


@given(st.text() | YAML_PIECES)
def test_any_text_gives_specs_or_a_list_of_mistakes(text: str) -> None:
    check(text)


@given(PROJECT | ANY)
def test_any_document_gives_specs_or_a_list_of_mistakes(document: Any) -> None:
    try:
        text = yaml.dump(document, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        text = json.dumps(document)
    check(text)
    check(json.dumps(document))


@given(st.lists(st.fixed_dictionaries({
    "name": st.text(alphabet="abcdé -_", min_size=1, max_size=6),
    "entrypoint": st.sampled_from(["a.py:f", "p.m:g"]),
    "parameters": st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=9)),
}, optional={"interval": st.floats(0.001, 1e9), "tags": st.lists(st.sampled_from("abc"))}),
    max_size=4, unique_by=lambda each: each["name"].strip()))
def test_what_is_right_is_taken_as_it_stands(entries: list[dict[str, Any]]) -> None:
    right = all(each["name"] == each["name"].strip() != "" for each in entries)
    bad_text = any("\0" in json.loads(json.dumps(text)) or _lone(text)
                   for each in entries for pair in each["parameters"].items()
                   for text in pair if isinstance(text, str))
    huge = any(isinstance(value, int) and abs(value) >= 1 << 1024
               for each in entries for value in each["parameters"].values())
    text = json.dumps({"deployments": entries})
    if not right or bad_text or huge:
        with pytest.raises(ProjectFileError):
            parse_project(text, FILE)
        return
    specs = parse_project(text, FILE).specs
    assert [(spec.name, spec.entrypoint, spec.parameters) for spec in specs] == [
        (each["name"], each["entrypoint"], each["parameters"]) for each in entries]
    assert [[one["interval"] for one in spec.schedules] for spec in specs] == [
        [each["interval"]] if "interval" in each else [] for each in entries]


def _lone(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
