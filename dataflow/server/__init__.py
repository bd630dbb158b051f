"""The service: what there is and what is to run, asked and told over HTTP.

Lives here: the gate, the table of routes, the loops that one process runs. Does not
live here: what the answers are made of (``store.py``, ``agenda.py``, ``event_log.py``),
the commands (``cli/server.py``).

A request comes through :mod:`.exchange`, passes :mod:`.gate`, finds its route in
:mod:`.table` and is answered by a function of :mod:`.views` in a thread of its own. No
file here, but the one that listens, knows tornado.
"""
