"""The identity of code: what a function is, for cache keys that never lie.

Lives here: from a function to a digest of everything of the user's own code
that it reaches, and to the list of what went in. Does not live here: digests
of values (``dataflow.hashing``), keys made of both (``cache_keys.py``).

What counts
-----------
- the normalised source of the function (``normal_form.py``), or its code
  object where no source gives that code (``source.py``);
- functions, classes, constants, closure values and defaults that it reads, at
  any depth, where they are of the user's own code (``ownership.py``);
- libraries that are named on the way, by version.

What cannot be seen
-------------------
``getattr`` with a name made at run time, ``exec``, ``eval``; the classes of
arguments that have no annotation; the environment, files, the clock; what a
constant's content becomes in place after it was first looked at. Names of
modules and files do not count.
"""

from __future__ import annotations

from dataflow.code_identity.differences import changed_parts
from dataflow.code_identity.parts import CodeIdentity, CodePart
from dataflow.code_identity.walk import code_identity

__all__ = ["CodeIdentity", "CodePart", "changed_parts", "code_identity"]
