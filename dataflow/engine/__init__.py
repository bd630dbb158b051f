"""What decides: events in, commands out.

Pure over its own data: no clock (``now`` is passed in), no thread, no I/O, no
user code. The driver performs what it commands.
"""

from dataflow.engine.engine import Engine

__all__ = ["Engine"]
