"""The ledger's tables. Instants are microseconds since the epoch in UTC, so that both databases keep them exactly.

No column holds PHI in the clear when the ledger has a key: what is written to the EHR, and what it answered, are sealed;
patients appear only as `ordering_key`, a keyed hash of tenant, endpoint and patient, and devices as `device`, another.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, false

metadata = MetaData()

# SQLite numbers rows only in a column of type INTEGER.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")

operations = Table(
    "operations",
    metadata,
    Column("sequence", _SERIAL, primary_key=True, autoincrement=True),
    Column("operation_id", Text, nullable=False, unique=True, doc="hash of the intent's key"),
    Column("event_key", Text, nullable=False, doc="hash of the key less its content hash"),
    Column("tenant_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("ordering_key", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("source_event_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("source_kind", Text, nullable=False, server_default="window", doc="window or command"),
    Column("source_part_ids", Text, nullable=False, doc="window ids, separated by spaces; or the command id"),
    Column("purpose", Text, nullable=False, server_default="vitals", doc="the purpose of the consent it needs"),
    Column("intent", LargeBinary, nullable=False, doc="sealed"),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("amends", Text),
    Column("resource_id", Text),
    Column("version", Text),
    Column("http_status", Integer),
    Column("code", Text),
    Column("message", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, doc="when it may be worked on, or its lease ends; null when terminal or held"),
    Column("settled_us", BigInteger),
    Column("fence", BigInteger, nullable=False, server_default="0", doc="token of the latest claim"),
    Column("answered", BigInteger, nullable=False, server_default="0", doc="the last fence under which it was settled"),
    Column("in_doubt", Boolean, nullable=False, server_default=false(), doc="an attempt may have been written"),
    Column("device", Text, doc="keyed hash of tenant and device"),
    Column("first_us", BigInteger, doc="first reading"),
    Column("last_us", BigInteger, doc="last reading"),
)
_of_a_device = operations.c.device.is_not(None)
Index(
    "operations_device",
    operations.c.device,
    operations.c.first_us,
    postgresql_where=_of_a_device,
    sqlite_where=_of_a_device,
)
Index("operations_ordering_key", operations.c.ordering_key)
_settled = operations.c.settled_us.is_not(None)
Index("operations_settled", operations.c.settled_us, postgresql_where=_settled, sqlite_where=_settled)
Index("operations_event", operations.c.event_key)
Index("operations_state", operations.c.endpoint, operations.c.state)
_open = operations.c.due_us.is_not(None)
Index("operations_open", operations.c.ordering_key, operations.c.sequence, postgresql_where=_open, sqlite_where=_open)

# One row a patient and endpoint: its earliest open operation. Claiming looks at these alone, so that the queue of a
# patient who must wait costs nothing; locking them is what keeps a patient's operations in order.
ordering_keys = Table(
    "ordering_keys",
    metadata,
    Column("ordering_key", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("head", BigInteger),
    Column("due_us", BigInteger),
)
_waiting = ordering_keys.c.due_us.is_not(None)
Index(
    "ordering_keys_due",
    ordering_keys.c.endpoint,
    ordering_keys.c.due_us,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("operation_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("http_status", Integer),
    Column("code", Text),
    Column("request", LargeBinary, doc="sealed"),
    Column("response", LargeBinary, doc="sealed"),
    Column("fence", BigInteger, nullable=False, server_default="0", doc="of the claim that it was made under"),
)
Index("attempts_operation", attempts.c.operation_id)
Index("attempts_at", attempts.c.at_us)

ledger_key = Table(
    "ledger_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False, doc="detects a wrong key at once; the key cannot be derived from it"),
)

# What was compared with the current reference data, so that a change made while no worker ran is noticed.
reviewed = Table(
    "reviewed",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True, doc="keyed hash"),
    Column("fingerprint", Text, nullable=False),
)

# One row: which database this is, as the worker that took it over last found it. What differs was lost or restored.
ledger_identity = Table(
    "ledger_identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False, doc="empty until a worker takes the ledger over"),
    Column("incidents", Integer, nullable=False, doc="how often the ledger was found to have gone back"),
    Column("quiet_until_us", BigInteger, nullable=False, doc="until then a worker of before may be sending"),
)

positions = Table(
    "positions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False, doc="what records before it cause is durable in this ledger"),
    Column("in_doubt_before", BigInteger, nullable=False, doc="what records before it cause may have been sent"),
    Column(
        "removed_unread", BigInteger, nullable=False, server_default="0", doc="records that retention removed first"
    ),
)

# What goes to Kafka because of a change of the ledger. A row goes when Kafka has confirmed it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("topic", Text, nullable=False, doc="without prefix"),
    Column("record", LargeBinary, nullable=False, doc="sealed: key, value, headers"),
    Column("created_us", BigInteger, nullable=False),
    Column("unreadable", Boolean, nullable=False, server_default=false(), doc="kept, and passed over"),
    sqlite_autoincrement=True,  # an id that was sent is never given again
)
outbox_lease = Table(
    "outbox_lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False, doc="the worker that publishes"),
    Column("until_us", BigInteger, nullable=False),
)

# The end of each tenant's audit chain.
chains = Table(
    "chains",
    metadata,
    Column("tenant", Text, primary_key=True, doc="hash of its name"),
    Column("writer", Text, nullable=False),
    Column("number", BigInteger, nullable=False, doc="of the next event"),
    Column("hash", Text, doc="of the last event"),
)

# How many operations each endpoint and purpose has in each state: the sum of the differences.
tallies = Table(
    "tallies",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("endpoint", Text, nullable=False),
    Column("purpose", Text, nullable=False, server_default="vitals"),
    Column("state", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
)
