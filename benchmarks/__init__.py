"""Benchmarks: each module is a program that measures us and an alternative in the same run."""
