"""The normal form of source, and fingerprints of code objects."""

import ast
from hashlib import blake2b
from textwrap import dedent

import pytest

from dataflow.code_identity.bytecode import fingerprint, reads
from dataflow.code_identity.names import ours_by_name
from dataflow.code_identity.normal_form import canonical, normal, readable
from dataflow.code_identity.parsing import parsed

RICH = """
    import os, json as j
    async def work(x: Cfg, /, *a: int, key: "Color | None" = None, **kw) -> Row:
        match x:
            case Cfg(xs=[1, *rest]) if rest: y = 1
            case {"a": Color.RED, **k} | (2 as k): y = -0.0
            case _: y = 1e400j
        try:
            async with x as z, y: pass
        except* ValueError as e:
            raise X from e
        else:
            del x[1:2, ...]
        finally:
            print(f"{a!r:>{k}} {a=} {'x' 'y'}{{", f'', f"a" "b", rf"\\d{x:{y}.{z}}")
        while (n := 10) in {1, 2, "a", None}: break
        lam = lambda q, *, r=3: q ** 2
        global STATE
        STATE: int = 3
        return [*x], {**k}, b"x", [i async for i in x if i], (yield), not -x
    @other(1)
    class C(B, metaclass=M):
        x: int = 3
        y: str
"""


def tree_of(source):
    return normal(parsed(dedent(source)), ours_by_name)


def bytes_of(source):
    return canonical(tree_of(source))


def code_of(source):
    space = {}
    exec(dedent(source), space)
    return space["f"].__code__


def test_canonical_bytes_are_the_same_on_every_version_of_python():
    digest = blake2b(bytes_of(RICH), digest_size=16).hexdigest()
    assert digest == "444b80a07afbfd4ab113ae1b5fb65a28"


@pytest.mark.parametrize(("one", "other"), [
    ("x = 1  # one", "x = 1"), ("x = (\n  1\n)", "x = 1"), ("x = 'a' 'b'", 'x = "ab"'),
    ("x = 0x10", "x = 16"), ("x = 1_000", "x = 1000"), ("x = u'a'", "x = 'a'"),
    ("def f():\n    'doc'", "def f():\n    pass"),
    ("def f():\n    'doc'\n    return 1", "def f():\n    return 1"),
    ("def f():\n    x: int = 1", "def f():\n    x = 1"),
    ("@task(retries=2)\ndef f(): pass", "@task\ndef f(): pass"),
    ("@dataflow.flow\ndef f(): pass", "def f(): pass"),
    ("class C:\n    'doc'\n    x = 1", "class C:\n    x = 1"),
    ("f'{x}' 'a' f'{y}'", "f'{x}a{y}'"),
])
def test_source_that_runs_alike_has_the_same_bytes(one, other):
    assert bytes_of(one) == bytes_of(other)


@pytest.mark.parametrize(("one", "other"), [
    ("x = 1", "x = 1.0"), ("x = 1", "x = True"), ("x = 'a'", "x = b'a'"), ("x = 0.0", "x = -0.0"),
    ("x, y = z", "[x, y] = z, 1"), ("{**a}", "{None: a}"), ("def f(x): pass", "def f(*, x): pass"),
    ("def f(x: int): pass", "def f(x): pass"), ("class C:\n    x: int = 1", "class C:\n    x = 1"),
    ("def f():\n    x: int", "def f():\n    pass"), ("@other\ndef f(): pass", "def f(): pass"),
    ("x = None", "x = ..."), ("x = 'a' + 'b'", "x = 'ab'"), ("f'{x}'", "f'{x!r}'"),
    ("f'{x}'", "f'{x:a}'"), ("x = 'None'", "x = None"), ("async def f(): pass", "def f(): pass"),
    ("def f(): return", "def f(): pass"), ("[x for x in y]", "{x for x in y}"),
])
def test_source_that_runs_otherwise_has_other_bytes(one, other):
    assert bytes_of(one) != bytes_of(other)


def test_normal_form_leaves_the_tree_as_it_is():
    tree = parsed(dedent(RICH))
    before = ast.dump(tree, include_attributes=True)
    readable(normal(tree, ours_by_name))
    assert ast.dump(tree, include_attributes=True) == before


def test_deep_expression_has_a_canonical_form():
    source = "x = " + " + ".join(["y"] * 2000)
    assert bytes_of(source) != bytes_of(source + " + y")


@pytest.mark.parametrize(("one", "other", "same"), [
    ("def f(): return 'a'", "def f(): return 'b'", False),
    ("def f():\n 'a'\n return 1", "def f():\n 'b'\n\n return 1", True),
    ("def f():\n 'a'\n return 1", "def f():\n return 1", True),
    ("f = lambda: 'a'", "f = lambda: 'b'", False),
    ("def f(): return [i for i in 'ab']", "def f(): return [i for i in 'ac']", False),
    ("def f(x): return x in {1, 'a', None}", "def f(x): return x in {None, 1, 'a'}", True),
    ("def f(): return 1", "def f(): return True", False),
    ("def f(): return 0.0", "def f(): return -0.0", False),
    ("def f(): return a.b", "def f(): return a.c", False),
    ("def f(x, y): return x", "def f(y, x): return y", False),
    ("def f(*, x): return x", "def f(x): return x", False),
])
def test_fingerprints_are_equal_where_code_runs_alike(one, other, same):
    assert (fingerprint(code_of(one)) == fingerprint(code_of(other))) == same


def test_reads_tells_names_chains_writes_and_imports():
    found = reads(code_of("""
        def f(x):
            global count
            count = RATE + helpers.deep.parse(x).other + x.lock
            import pkg.mod
            from ..pkg import a as b
            class C(Base):
                y = CLASS
            return [lambda: late(b) for _ in x]
    """))
    assert {chain for chain in found.names if chain[0] != "__name__"} == {
        ("RATE",), ("helpers", "deep", "parse"), ("Base",), ("CLASS",), ("late",)}
    assert found.written == {"count"}
    assert found.imports == {(0, "pkg.mod", ()), (2, "pkg", ("a",))}
