"""Identities of code in files: packages, scripts, imports, other interpreters."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from dataflow.code_identity import code_identity

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = """
    import enum, logging, re
    from dataclasses import dataclass
    from dataflow import task
    from shop import prices
    from shop.text import words as split

    log = logging.getLogger(__name__)
    LIMITS = {"a", "b", "c", "d"}
    PATTERN = re.compile("a+")

    class Color(enum.Enum):
        RED = 1

    @dataclass
    class Config:
        rate: float = 0.5

    CONFIG = Config(2)

    @task(retries=2)
    def load(text, config: Config = CONFIG, color=Color.RED):
        log.info("loads")
        from shop import late
        if text in LIMITS and PATTERN.match(text) and __name__:
            return None
        return prices.total(split(text)), config.rate, late.extra(text), {len, max}

    if __name__ == "__main__":
        from dataflow.code_identity import code_identity
        print(code_identity(load).digest.hex())
"""
FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "from shop import text\n\ndef total(ws):\n    return text.count(ws)\n",
    "shop/text.py": "def words(s):\n    return s.split()\n\ndef count(ws):\n    return len(ws)\n",
    "shop/late.py": "from . import later\n\ndef extra(s):\n    return later.more(s)\n",
    "shop/later.py": "def more(s):\n    return s\n",
    "script.py": SCRIPT,
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def digest_in(folder, *arguments, **variables):
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{PROJECT}", **variables}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          cwd=folder, env=env, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Return a function that imports a module of ``tmp_path`` anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget():
        for module in [m for m in sys.modules if m.split(".")[0] in ("shop", "script", "plugin")]:
            del sys.modules[module]
        importlib.invalidate_caches()

    def load(name):
        forget()
        return importlib.import_module(name)

    yield load
    forget()


def test_digest_is_the_same_in_each_interpreter_run_as_a_script_or_imported(tmp_path):
    write(tmp_path, FILES)
    imported = ("import script; from dataflow.code_identity import code_identity; "
                "print(code_identity(script.load).digest.hex())")
    digests = {digest_in(tmp_path, "script.py", PYTHONHASHSEED="1"),
               digest_in(tmp_path, "-c", imported, PYTHONHASHSEED="2"),
               digest_in(tmp_path, "-m", "script", PYTHONHASHSEED="3")}
    assert len(digests) == 1


@pytest.mark.parametrize(("file", "old", "new", "other"), [
    ("shop/text.py", "return len(ws)", "return len(ws) + 1", True),
    ("shop/text.py", "return s.split()", "return s.split(',')", True),
    ("shop/text.py", "def count", "# counts\ndef count", False),
    ("shop/text.py", "def count", "def unused(): pass\n\ndef count", False),
    ("shop/late.py", "return later", "return 1 + later", True),
    ("shop/later.py", "return s", "return s + s", True),
    ("shop/later.py", "return s", "return s  # so", False),
    ("script.py", "Config(2)", "Config(3)", True),
    ("script.py", "retries=2", "retries=3", False),
    ("script.py", "RED = 1", "RED = 2", True),
], ids=["helper two calls deep", "helper by name", "comment", "unused function",
        "imported in the body", "imported by that", "comment in that", "default", "option",
        "enum"])
def test_change_in_a_file_makes_another_digest_where_it_is_reached(
        tmp_path, fresh, file, old, new, other):
    write(tmp_path, FILES)
    first = code_identity(fresh("script").load).digest
    changed = (tmp_path / file).read_text()
    assert old in changed
    (tmp_path / file).write_text(changed.replace(old, new))
    assert (code_identity(fresh("script").load).digest != first) == other


def test_file_that_is_edited_while_the_program_runs_is_not_believed(tmp_path, fresh):
    write(tmp_path, FILES)
    module = fresh("shop.text")
    path = tmp_path / "shop/text.py"
    path.write_text(path.read_text().replace("len(ws)", "len(ws) + 1"))
    stale = code_identity(module.count).digest
    assert stale != code_identity(fresh("shop.text").count).digest


def test_comment_written_above_while_the_program_runs_changes_nothing(tmp_path, fresh):
    write(tmp_path, FILES)
    module = fresh("shop.text")
    path = tmp_path / "shop/text.py"
    path.write_text("# a\n# b\n" + path.read_text())
    assert code_identity(module.count).digest == code_identity(fresh("shop.text").count).digest


def test_module_imported_in_a_body_is_not_run(tmp_path, fresh):
    write(tmp_path, {"plugin.py": "raise RuntimeError('ran')\n",
                     "script.py": "def load():\n    import plugin\n    return plugin.x\n"})
    identity = code_identity(fresh("script").load)
    assert ("module", "plugin") in {(part.kind, part.name) for part in identity.parts}
    assert "plugin" not in sys.modules


def test_installed_package_is_own_code_for_its_own_tasks_and_a_library_for_others(
        tmp_path, fresh, monkeypatch):
    site = tmp_path / "site-packages"
    write(site, {
        "shop/__init__.py": "from dataflow import task\nfrom shop.text import count\n"
                            "@task\ndef load(x):\n    return count(x)\n",
        "shop/text.py": FILES["shop/text.py"],
        "shop-1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.5\n",
    })
    write(tmp_path, {"script.py": "import shop\ndef load(x):\n    return shop.count(x)\n"})
    monkeypatch.syspath_prepend(site)
    script = fresh("script")
    named = [(part.kind, part.name, part.text) for part in code_identity(script.load).parts[1:]]
    assert named == [("library", "shop", "1.5")]
    inside = code_identity(sys.modules["shop"].load)
    assert [(part.kind, part.name) for part in inside.parts] == [
        ("function", "load"), ("helper", "shop.text.count")]


def test_typical_identity_takes_less_than_twenty_milliseconds(tmp_path, fresh):
    import time

    write(tmp_path, FILES)
    took = []
    for _ in range(5):
        load = fresh("script").load
        began = time.perf_counter()
        code_identity(load)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.020
