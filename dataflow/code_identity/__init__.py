"""The identity of code: what a function is, for cache keys that never lie.

Lives here: from a function to a digest of everything of the user's own code
that it reaches, and to the list of what went in. Does not live here: digests
of values (``dataflow.hashing``), keys made of both (``cache_keys.py``).

What counts
-----------
- The normalised source of the function (``normal_form.py``), the same on each
  version of Python; its code object where no source gives that code
  (``source.py``), which holds for one minor version.
- Functions, classes, constants, closure values and defaults that it reads, at
  any depth, where they are of the user's own code (``ownership.py``). A
  constant counts by value; the classes of what it holds count as well.
- Libraries that are named on the way, by name and version. Python and this
  package count for nothing.
- A module that is imported in a body, or used as a value, as a whole.
- A name that the code binds itself (``global``) by the statements of its module that bind it,
  with what they name; by its value at the first look where there are none.
- Annotations, and decorators of libraries, as they are written; what they name
  where it has a digest. Those of local variables for what they name alone.
- Fields of data classes and models: types, defaults, validators, bounds.

What does not
-------------
Comments, format, docstrings; decorators of this package with their options;
loggers; names of modules and files; how a constant is spelled.

What cannot be seen
-------------------
``getattr`` with a name made at run time, ``globals()``, ``exec``, ``eval``;
classes of arguments that no annotation names, subclasses of one that is named
among them; the environment, files, the
clock; attributes of classes and contents of constants that change in place
after the first look (a list that a task appends to makes it no other task);
objects of the user's own within a table of a library.
"""

from __future__ import annotations

from dataflow.code_identity.differences import changed_parts
from dataflow.code_identity.parts import CodeIdentity, CodePart
from dataflow.code_identity.walk import code_identity, identity_as_made

__all__ = ["CodeIdentity", "CodePart", "changed_parts", "code_identity", "identity_as_made"]
