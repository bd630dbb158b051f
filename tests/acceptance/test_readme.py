"""What the README says is what happens: its Python runs, its output is what is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:^<!-- exits with 1: (.*?) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)  # (what it fails with, language, text)
SNIPPETS = [(number, block) for number, block in enumerate(BLOCKS) if block[1] == "python"]


def shown_after(number: int) -> str:
    """Return what the README shows after a snippet: its output, a transcript, or nothing."""
    kind, text = BLOCKS[number + 1][1:] if number + 1 < len(BLOCKS) else ("", "")
    return str(text) if kind in ("text", "console") else ""


@pytest.mark.parametrize(("number", "block"), SNIPPETS)
def test_snippet_prints_what_the_readme_shows(
    number: int, block: tuple[str, str, str], tmp_path: Path
) -> None:
    failure, _, source = block
    script = tmp_path / "snippet.py"
    script.write_text(source, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=os.environ,
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == (1 if failure else 0), done.stdout + done.stderr
    assert failure in done.stderr
    lines, transcript = done.stdout.splitlines(), shown_after(number)
    if transcript.startswith("$ python"):
        assert all(line in transcript.splitlines() for line in lines)
    elif transcript:
        assert lines == transcript.splitlines()


def test_files_and_make_targets_that_the_readme_names_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (PROJECT / link).exists()] == []
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_readme_names_no_option_of_the_demo_that_does_not_exist() -> None:
    source = (PROJECT / "examples" / "flights.py").read_text(encoding="utf-8")
    options = set(re.findall(r"flights\.py.*?(--[a-z]+)", README))
    assert [name for name in options if f'"{name}"' not in source] == []
