"""``dataflow flow-run perform``: what a container or a job does that a worker's command began.

Lives here: the options. Does not live here: what is done (``service/performing.py``).
"""

from __future__ import annotations

import click


@click.command()
@click.argument("word", metavar="[ORDER]", required=False)
@click.option("--order-file", metavar="PATH", help="A file with the order.")
@click.option("--run", metavar="ID", help="A flow run whose order is in the store.")
def perform(word: str | None, order_file: str | None, run: str | None) -> int:
    """Perform a run that a worker has taken: in a container, in a job of a batch system.

    ORDER is the word that stands in a pool's command as {order}; without an argument it is
    taken from DATAFLOW_ORDER. The store is that of DATAFLOW_STORE.
    """
    from dataflow.service.performing import perform_given

    if sum(each is not None for each in (word, order_file, run)) > 1:
        raise click.UsageError("Give one of ORDER, --order-file and --run.")
    return perform_given(word, order_file, run)
