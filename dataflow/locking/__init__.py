"""Locks that a cache policy or a transaction can be given: one holder per key at a time.

Lives here: the protocol and what implements it. Does not live here: the claims
by which one execution per key is kept without any lock manager (``claims.py``).
"""
