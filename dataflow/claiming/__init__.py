"""Adapters of the port ``dataflow.claims``: memory, a file, PostgreSQL.

Lives here: where claims are kept. Does not live here: SQLAlchemy, or anything
of the run store: workers load this package.
"""
