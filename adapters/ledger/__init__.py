"""The ledger over SQL: PostgreSQL for a hospital, SQLite embedded. `migrate(url)` once, then `open_ledger(url, key)`."""

from adapters.ledger.engine import migrate
from adapters.ledger.observed import ObservedLedger
from adapters.ledger.rows import Attempt
from adapters.ledger.settling import STALE
from adapters.ledger.soundness import require_sound
from adapters.ledger.store import SqlLedger, open_ledger

__all__ = ["STALE", "Attempt", "ObservedLedger", "SqlLedger", "migrate", "open_ledger", "require_sound"]
