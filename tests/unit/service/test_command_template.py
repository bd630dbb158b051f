"""Templates of commands: what they may not say, and that a value stays within its word."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.exceptions import WorkPoolError
from dataflow.service.command_template import FACTS, CommandTemplate, filled, filled_value

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NASTY = ["; rm -rf /", "$(id)", "`id`", "a b", "'", '"', "\n", "{name}", "{order}", "*", "&&",
         "${X}"]


def facts(**some: str) -> dict[str, str]:
    return {**{name: f"<{name}>" for name in FACTS if name != "environment"}, **some}


def test_a_text_is_split_as_a_shell_would_and_words_are_taken_as_they_are() -> None:
    text = CommandTemplate.made("docker run --name={name} 'a b' {image}", variables={"image": "x"})
    assert text.command == ("docker", "run", "--name={name}", "a b", "{image}")
    assert CommandTemplate.made(list(text.command), variables={"image": "x"}) == text
    assert CommandTemplate.of_json(json.loads(json.dumps(text.to_json()))) == text


def test_words_are_filled_and_what_only_looks_like_a_placeholder_stays() -> None:
    plain = ["{{.State}}", "{}", "${HOME}", '{"a": 1}', "{{name}}"]
    words = CommandTemplate.made(["run", "{name}", "--f={flow}/{pool}", *plain]).command
    assert filled(words, facts()) == ["run", "<name>", "--f=<flow>/<pool>", *plain]


def test_a_word_with_the_environment_is_there_for_each_variable() -> None:
    words = ["run", "--env={environment}", "x"]
    assert filled(words, facts(), {"A": "1", "B": "x y"}) == [
        "run", "--env=A=1", "--env=B=x y", "x"]
    assert filled(words, facts()) == ["run", "x"]


@given(st.dictionaries(st.sampled_from(["flow", "deployment", "queue", "pool"]),
                       VALUES | st.sampled_from(NASTY), min_size=4))
def test_a_value_stays_within_its_word_and_is_not_read_again(values: dict[str, str]) -> None:
    words = ["run", "--a={flow}", "x{deployment}y", "--", "q={queue}:{pool}"]
    assert filled(CommandTemplate.made(words).command, facts(**values)) == [
        "run", f"--a={values['flow']}", f"x{values['deployment']}y", "--",
        f"q={values['queue']}:{values['pool']}"]


@settings(max_examples=25, deadline=None)
@given(VALUES | st.sampled_from(NASTY))
def test_a_shell_that_gets_a_value_behind_its_script_prints_it_as_it_is(value: str) -> None:
    template = CommandTemplate.made(["sh", "-c", 'printf %s "$1"', "sh", "={flow}"])
    done = subprocess.run(filled(template.command, facts(flow=value)), capture_output=True,
                          check=True)
    assert done.stdout.decode() == f"={value}"


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), VALUES)
def test_texts_of_a_manifest_are_filled_and_its_shape_stays(plain: dict[str, str],
                                                            value: str) -> None:
    assume(not any(re.search(r"\{[A-Za-z_]", text) for text in plain.values()))
    manifest: Any = {"kind": "Job", "args": ["{flow}", 3, None, True], "more": plain}
    assert filled_value(manifest, facts(flow=value)) == {
        "kind": "Job", "args": [value, 3, None, True], "more": plain}


@pytest.mark.parametrize(("words", "said"), [
    ("docker run {flw}", "Is {flow} meant"),
    ("", "is empty"),
    ("docker 'run", "Quotes must be closed"),
    (["docker", 3], "list of words"),
    ("{flow} run", "may hold no placeholder"),
    ("sh -c 'run {flow}'", "reads a script"),
    ("docker run x bash -exc 'run {deployment}'", "reads a script"),
    ("/bin/sh -e -c 'run {queue}'", "reads a script"),
    ("python3 -c 'print(\"{flow}\")'", "reads a script"),
    ("{python} -c {flow}", "reads a script"),
    ("perl -e '{flow}'", "reads a script"),
    ("ssh host docker run {flow}", "reads a script"),
    ("sbatch --wait --wrap='run {deployment}'", "reads a script"),
    ("sbatch --wait --wrap 'run {deployment}'", "reads a script"),
    ("bash -o pipefail -c 'run {flow}'", "reads a script"),
    ("bash -euo pipefail -c 'run {flow}'", "reads a script"),
    ("sh -c -e -- 'run {flow}'", "reads a script"),
    ("sh +e -c 'run {flow}'", "reads a script"),
    ("docker run --entrypoint sh image -c 'run {flow}'", "reads a script"),
    ("docker run --entrypoint=/bin/bash image -c 'run {flow}'", "reads a script"),
    ("docker run --entrypoint python image -c 'run {flow}'", "reads a script"),
    ("python -W ignore -c 'run({flow})'", "reads a script"),
    ("python '-crun({flow})'", "reads a script"),
    ("node --require x '--eval=run({flow})'", "reads a script"),
    ("env -S 'sh -c {flow}'", "reads a script"),
    ("tcsh -c 'run {flow}'", "reads a script"),
    ("pwsh -Command 'run {flow}'", "reads a script"),
    ("flock /lock -c 'run {flow}'", "reads a script"),
    ("kubectl create -f {manifest}", "go together"),
    (["docker", "a\0b"], "cannot stand in a command"),
])
def test_what_cannot_be_meant_is_refused_and_says_why(words: Any, said: str) -> None:
    with pytest.raises(WorkPoolError, match=re.escape(said)):
        CommandTemplate.made(words)


@pytest.mark.parametrize("words", [
    "sh -c 'run \"$1\"' sh {flow}", "ssh host perform {order}", "sh -c 'run {name}'",
    "sbatch --wait --job-name={name} --wrap='dataflow flow-run perform {order}'",
    "bash script.sh {flow}", "bash -o pipefail script.sh {flow}", "env A=b run {flow}",
    "bash script.sh -c {flow}", "docker run -c 512 --entrypoint run image {flow}",
    "python -W ignore run.py -e {flow}", "{python} -m dataflow.service.performing {order}",
])
def test_what_no_shell_can_misread_is_taken(words: str) -> None:
    assert CommandTemplate.made(words).command == tuple(shlex.split(words))


def test_a_value_that_would_be_an_option_is_refused() -> None:
    with pytest.raises(WorkPoolError, match="takes for an option"):
        filled(["run", "{flow}"], facts(flow="--privileged"))
    assert filled(["run", "-f={flow}"], facts(flow="--privileged")) == ["run", "-f=--privileged"]


@pytest.mark.parametrize("variables", [{"name": "x"}, {"a-b": "x"}, {"a": 3}, {"a": "\0"}])
def test_variables_that_cannot_be_are_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(WorkPoolError):
        CommandTemplate.made("run", variables=variables)


def test_what_an_older_or_newer_version_wrote_is_refused_where_it_is_not_known() -> None:
    with pytest.raises(WorkPoolError, match="'colour'"):
        CommandTemplate.of_json({"command": ["x"], "colour": "red"})
