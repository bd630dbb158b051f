"""Modules of a user that exist in memory only, as the cells of a notebook do."""

import itertools
import linecache
import sys
import types
from textwrap import dedent

numbers = itertools.count()


def define(source, name=None, **given):
    """Run a module's source and return the module; its source can be read back."""
    module = types.ModuleType(name or f"user_code_{next(numbers)}")
    filename = f"<cell {next(numbers)} of {module.__name__}>"
    text = dedent(source)
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    sys.modules[module.__name__] = module
    module.__dict__.update(given)
    exec(compile(text, filename, "exec"), module.__dict__)
    return module


def again(module, source):
    """Run more source in a module, as another cell."""
    other = define(source, module.__name__, **vars(module))
    sys.modules[module.__name__] = module
    vars(module).update(vars(other))
    return module
