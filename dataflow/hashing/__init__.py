"""The canonical hasher: 16 bytes that say which value it is, the same everywhere.

Lives here: what values are equal for a cache, and where one cannot be told. Does not
live here: what keys are made of (``cache_keys.py``), what a function's code is
(``code_identity/``).

A digest is the same in every interpreter, process, runner and operating system. It
never comes from pickle, ``repr``, ``hash`` or ``id``. A value, or any part of one,
without a rule is not cacheable: :class:`~dataflow.exceptions.NotCacheable` with the
path to it.

What has a rule
---------------
- None, bool, int, float, complex, str, bytes, bytearray, memoryview, Ellipsis
- list, tuple, named tuples, dict, set, frozenset, range, slice, and those of ``collections``
- enums, dataclasses, pydantic models, attrs: class and fields
- other classes: class and attributes (``__dict__`` and slots), unless the class or a base of
  it is made in C or says itself how it is pickled (``__reduce__``, ``__getstate__`` …)
- subclasses of builtin types, and exceptions: class, content and attributes
- dates, times, zones; Decimal, Fraction, UUID, patterns, addresses; ``random.Random``
- paths: their text, not what is in the file
- classes: module and name; those that their name does not find (of a function, of
  ``create_model``): members, fields and code as well, also in their instances
- modules of libraries: name and version; functions, methods, partials: their code
- NumPy arrays and scalars, pandas, polars, PyArrow, sparse matrices of SciPy
- what is registered (:func:`register`) or has ``__dataflow_hash__(self)``, which returns
  anything that has a digest

A class is called by the name of its module, and a script by its file's, so that it is the
same whether it runs or is imported; what hashes classes of another process's script says so
(:func:`dataflow.script_name.within_script`). The values of ``functools.cached_property`` do
not count.

Same or apart
-------------
====================================  ====================================  =====
value                                 other value                           keys
====================================  ====================================  =====
``1``                                 ``1.0``                               apart
``1``                                 ``True``                              apart
``1``                                 ``np.int64(1)``                       apart
``1.0``                               ``np.float64(1.0)``                   apart
``np.float64(1)``                     ``np.array(1.0)``                     apart
``0.0``                               ``-0.0``                              apart
``float('nan')``                      ``-float('nan')``                     same
``'a'``                               ``b'a'``                              apart
``b'a'``                              ``bytearray(b'a')``                   apart
``[1, 2]``                            ``(1, 2)``                            apart
``(1, 2)``                            ``Point(1, 2)``                       apart
``namedtuple('P', 'x y')(1, 2)``      ``namedtuple('P', 'y x')(1, 2)``      apart
``{1, 2}``                            ``frozenset({1, 2})``                 apart
``{1, 2}``                            ``{2, 1}``                            same
``{'a': 1, 'b': 2}``                  ``{'b': 2, 'a': 1}``                  same
``OrderedDict(a=1, b=2)``             ``OrderedDict(b=2, a=1)``             apart
``{'a': 1}``                          ``OrderedDict(a=1)``                  apart
``{1: 'a'}``                          ``{1.0: 'a'}``                        apart
``range(0, 3, 2)``                    ``range(0, 4, 2)``                    apart
``Decimal('1.0')``                    ``Decimal('1.00')``                   apart
``Path('a') / 'b'``                   ``Path('a//b')``                      same
``Path('a')``                         ``'a'``                               apart
``timedelta(hours=1)``                ``timedelta(minutes=60)``             same
``time(9, tzinfo=UTC)``               ``time(9)``                           apart
``datetime(1, 1, 1, fold=1)``         ``datetime(1, 1, 1)``                 apart
``Colour.RED``                        ``1``                                 apart
``[[1], [1]]``                        ``[one, one]``                        same
``np.array([[1, 2], [3, 4]])``        ``np.array([[1, 3], [2, 4]]).T``      same
``np.array([1, 2])``                  ``np.array([1, 0, 2])[::2]``          same
``np.array([1], '<i4')``              ``np.array([1], '>i4')``              same
``np.array([1], 'i4')``               ``np.array([1], 'i8')``               apart
``np.dtype('<i4')``                   ``np.dtype('>i4')``                   apart
``np.array([1, 2])``                  ``np.array([[1, 2]])``                apart
``np.array([1, 2])``                  ``[1, 2]``                            apart
``np.array([nan])``                   ``np.array([-nan])``                  same
``np.array([0.0])``                   ``np.array([-0.0])``                  apart
``pd.Series([1, 2])``                 ``pd.Series([1, 2], index=[0, 1])``   same
``pd.Series([1, 2])``                 ``pd.Series([1, 2], name='a')``       apart
``pd.Series([1, 2])``                 ``pd.Series([1.0, 2.0])``             apart
``pd.DataFrame({'a': 1, 'b': 2}, o)`` ``pd.DataFrame({'b': 2, 'a': 1}, o)`` apart
====================================  ====================================  =====

Cost
----
About 2 µs for a small tuple, some 200 ns per item of a list (less for numbers), 1 GB/s for
arrays on a processor with instructions for SHA-256 (half of that on one without).

Limits
------
What a class does that its name finds is no part of its instances' digest, its ``__call__``
apart, nor is the content of a file part of its path's. A pydantic model is its values, not
which of them were given. Schema metadata of Arrow tables counts; chunks, blocks and memory
layouts never do. Objects in cycles are told apart by where the cycle is entered.
"""

from __future__ import annotations

from dataflow.hashing.explain import Leaf, changed_leaves, leaves
from dataflow.hashing.kinds import register
from dataflow.hashing.walk import digest

__all__ = [
    "Leaf", "changed_leaves", "digest", "leaves", "register",
]
