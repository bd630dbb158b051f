"""What runs without anybody watching: the scheduler, workers, the processes of runs.

Lives here: loops that act on an agenda. Does not live here: the agenda
(``dataflow/agenda.py``), the rules of schedules (``schedules/``).
"""
