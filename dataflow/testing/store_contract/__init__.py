"""The parts of the store contract that ``dataflow.testing.stores`` puts together.

Lives here: one class of tests per matter, with plain ``assert``; nothing that
knows a store but by its port. Does not live here: fixtures, which who tests a
store brings.
"""
