"""Modules under the names by which users of Prefect import them; each only names things again."""
