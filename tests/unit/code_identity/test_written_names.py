"""Global names that the code binds: they count by the statements that bind them first."""

import sys
import threading

import pytest

from dataflow.code_identity import code_identity
from dataflow.exceptions import NotCacheable
from tests.unit.code_identity.user_code import again, define

USED = """
K = 2
L = 3
def mk(): return K
class S:
    K = 2
class Where:
    def __enter__(self): return K
    def __exit__(self, *why): return None
{bound}
def reset(v):
    global R
    R = v
def load(): return reset, R
"""


def identity_of(source, name="load"):
    return code_identity(getattr(define(source), name))


@pytest.mark.parametrize("bound", [
    "R = K * 1", "R = mk()", "R: int = mk()", "R = S()", "R = S", "R = S.K", "(R, Q) = (K, 1)",
    "R = 1\nR += K", "Q = R = [K]",
    "if K:\n    R = 1\nelse:\n    R = 2", "if L:\n    R = K",
    "while True:\n    R = K\n    break",
    "for R in [K, 2]:\n    pass", "for n in range(K):\n    R = n",
    "try:\n    R = K\nexcept ValueError:\n    R = 1",
    "try:\n    raise ValueError\nexcept ValueError:\n    R = K",
    "try:\n    pass\nexcept OSError:\n    pass\nelse:\n    R = K\nfinally:\n    pass",
    "try:\n    pass\nfinally:\n    R = K",
    "with Where() as R:\n    pass", "with Where():\n    R = K",
    "print((R := K), end='')", "if (R := K):\n    pass", "Q = [R := n for n in [K]]",
    "match [K, 1]:\n    case [R, 1]:\n        pass",
    "match 1:\n    case 1 if K:\n        R = 1\n    case _:\n        R = 0",
    "if True:\n    if K:\n        R = 0",
])
def test_what_binds_the_name_is_followed_wherever_it_stands(bound):
    source = USED.replace("{bound}", bound)
    module = define(source)
    first = code_identity(module.load).digest
    module.reset(99)
    assert code_identity(module.load).digest == first
    assert identity_of(source).digest == first
    assert identity_of(source.replace("K = 2", "K = 4")).digest != first


@pytest.mark.parametrize(("bound", "old", "new"), [
    ("R = 7", "7", "8"), ("if L:\n    R = 7", "7", "8"), ("R = mk()", "return K", "return -K"),
    ("def R(): return mk()", "return K", "return -K"), ("R = S()", "    K = 2", "    K = 3"),
    ("class R(S): pass", "    K = 2", "    K = 3"), ("R = 7\nif L:\n    R = 8", "8", "9"),
    ("try:\n    R = 7\nexcept OSError:\n    R = 8", "8", "9"), ("for R in (1, 7): pass", "7", "8"),
    ("if L > 2: R = 1\nelse: R = 0", "L > 2", "L > 4"),
])
def test_text_of_what_binds_the_name_counts(bound, old, new):
    source = USED.replace("{bound}", bound)
    assert identity_of(source).digest != identity_of(source.replace(old, new)).digest


def test_what_binds_other_names_counts_for_nothing():
    source = USED.replace("{bound}", "R = 1\nif L:\n    Q = mk()\nT = [R for R in [5]]")
    first = identity_of(source).digest
    for old, new in [("L = 3", "L = 4"), ("return K", "return -K"), ("in [5]", "in [6]"),
                     ("Q = mk()", "Q = 2")]:
        assert identity_of(source.replace(old, new)).digest == first


@pytest.mark.parametrize("line", [
    "from settings_of_r import R", "from settings_of_r import K as R",
    "from settings_of_r import *", "import settings_of_r as R",
])
def test_import_that_binds_the_name_is_followed(line, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for number in (1, 1, 2):
        (tmp_path / "settings_of_r.py").write_text(
            f"K = {number}\ndef mk(): return K\nR = [mk, {number}]\n")
        sys.modules.pop("settings_of_r", None)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        digests.append(identity_of(USED.replace("{bound}", line).replace("K = 2", "", 1)).digest)
        sys.modules.pop("settings_of_r")
    assert digests[0] == digests[1] != digests[2]


def test_library_that_an_import_brings_counts_by_its_version():
    found = identity_of(USED.replace("{bound}", "from numpy import mean as R"))
    assert ("library", "numpy") in {(part.kind, part.name) for part in found.parts}


def test_name_that_nothing_binds_in_its_file_counts_by_its_value_then():
    source = """
        def load():
            global R
            R = 1 + R
    """
    digests = []
    for value in (1, 1, 2):
        module = define(source, R=value)
        digests.append(code_identity(module.load).digest)
        module.load()
        assert code_identity(module.load).digest == digests[-1]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(NotCacheable, match="load → constant `R` is a _thread.lock"):
        code_identity(define(source, R=threading.Lock()).load)


def test_name_of_another_cell_counts_by_its_value():
    module = define("R = 1\n")
    again(module, "def load():\n    global R\n    R = R + 1\n")
    other = define("R = 2\n")
    again(other, "def load():\n    global R\n    R = R + 1\n")
    assert code_identity(module.load).digest != code_identity(other.load).digest


def test_name_that_only_functions_bind_is_the_same_before_and_after_they_ran():
    source = """
        def load():
            global model
            try:
                return model
            except NameError:
                model = 3
    """
    module = define(source)
    module.__file__ = module.load.__code__.co_filename
    first = code_identity(module.load).digest
    module.load()
    other = define(source)
    other.__file__ = other.load.__code__.co_filename
    other.model = 5
    assert code_identity(module.load).digest == code_identity(other.load).digest == first
