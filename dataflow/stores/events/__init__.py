"""Events, what was remembered of them, and messages that wait, in the database of a store.

The port is ``dataflow/event_log.py``; :class:`~.sql_event_log.SqlEventLog` performs it.
"""
