"""Accounts for every reading: counted from the topics and the ledger, independently of the counters of any worker.

    readings = duplicates + quarantined + late + in windows + in open windows
    windows  = not published + quarantined everywhere + in intents

Retention removes records regularly: processed readings that it has removed are left out on both sides, from the same record on.
Records that it removed unread are a loss, and nothing balances while there is any.
"""

from streams.reconcile.report import reconcile

__all__ = ["reconcile"]
