"""Where every reading went: counted again from the topics and the ledger, independently of any worker's own counters.

    readings = duplicates + quarantined + late + in windows + in open windows
    windows  = not published + refused everywhere + in intents

Retention is part of ordinary life: what it takes of judged readings is left out on both sides, from the same record on. What
it took before anybody read it is a loss, and nothing balances while there is any.
"""

from streams.reconcile.report import reconcile

__all__ = ["reconcile"]
