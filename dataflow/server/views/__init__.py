"""What answers requests: a function for each route, and the routes of each matter.

Lives here: which question a request puts to the store, which answer it gets. Does not
live here: the JSON (``shapes/``), who may ask (``gate.py``). Views block; they run in
threads.
"""
