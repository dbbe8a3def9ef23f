"""The tables of the manager's state.

A spec stands once for all tasks of its revision. A service's own row has its spec once more, as
scaling changes `replicas` without a new revision; so do its tasks, which keep theirs in a column.
`numbers` has the greatest task number a name ever had, and outlives the service, so that no task's
id is used again. Events have no foreign key: they outlive their subjects; `kind` is the word of a
kind, also of one that only a later version knows, and `facts` is JSON, empty for none.
`meta.manager` is the manager's id: made with the file, and the same in every copy of it.
`meta.run` is the run that has made the last commit: with its generation it says which state it is.
"""

from __future__ import annotations

from warren.store.database import Schema

_FIRST = (
    "PRAGMA application_id=0x57527374",  # "WRst"
    """CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        generation INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO meta VALUES (1, 0)",
    """CREATE TABLE services (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        is_removing INTEGER NOT NULL,
        first_number INTEGER NOT NULL,
        spec TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE specs (
        service TEXT NOT NULL,
        revision INTEGER NOT NULL,
        spec TEXT NOT NULL,
        PRIMARY KEY (service, revision)
    ) STRICT""",
    """CREATE TABLE tasks (
        service TEXT NOT NULL,
        slot INTEGER NOT NULL,
        number INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        replicas INTEGER NOT NULL,
        node TEXT,
        desired TEXT NOT NULL,
        stop_reason TEXT NOT NULL,
        created_at REAL NOT NULL,
        not_before REAL,
        failed_before INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        status TEXT NOT NULL,
        PRIMARY KEY (service, slot, number),
        FOREIGN KEY (service, revision) REFERENCES specs
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX tasks_by_spec ON tasks (service, revision)",
    """CREATE TABLE numbers (
        service TEXT PRIMARY KEY,
        last INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE nodes (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        joined_at REAL NOT NULL,
        lost_at REAL,
        warren TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        service TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX events_by_time ON events (at)",
    "CREATE INDEX events_by_service ON events (service) WHERE service != ''",
)

_MANAGER = (
    "ALTER TABLE meta ADD COLUMN manager TEXT NOT NULL DEFAULT ''",
    "UPDATE meta SET manager = lower(hex(randomblob(16)))",
)

_RESTARTS_OF_SLOTS = ("ALTER TABLE tasks ADD COLUMN restarts_before INTEGER NOT NULL DEFAULT 0",)
# A task that was outdated by its revision still is, and no other is.
_RESTARTS_ASKED = (
    "ALTER TABLE services ADD COLUMN restarts_asked INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tasks ADD COLUMN restarts_asked INTEGER NOT NULL DEFAULT 0",
    "UPDATE services SET restarts_asked = 1",
    """UPDATE tasks SET restarts_asked = 1 WHERE EXISTS (
        SELECT 1 FROM services
        WHERE services.name = tasks.service AND services.revision = tasks.revision
    )""",
)

_STOPPED_NODES = ("ALTER TABLE nodes ADD COLUMN has_stopped INTEGER NOT NULL DEFAULT 0",)
_PRINCIPALS = ("ALTER TABLE events ADD COLUMN principal TEXT NOT NULL DEFAULT ''",)
# Messages of two kinds did not begin with what happened, as they do now.
_FACTS = (
    "ALTER TABLE events ADD COLUMN facts TEXT NOT NULL DEFAULT ''",
    """UPDATE events SET message = 'pending: ' || message
        WHERE kind = 'pending' AND message NOT LIKE 'pending: %'""",
    """UPDATE events SET message = 'probes changed: the spec has changed'
        WHERE kind = 'probes changed' AND message LIKE '% goes on by other probes: %'""",
)
_RUNS = ("ALTER TABLE meta ADD COLUMN run TEXT NOT NULL DEFAULT ''",)
_DESCRIPTIONS = ("ALTER TABLE nodes ADD COLUMN description TEXT NOT NULL DEFAULT ''",)

STATE = Schema(
    application_id=0x57527374,
    migrations=(
        _FIRST,
        _MANAGER,
        _RESTARTS_OF_SLOTS,
        _RESTARTS_ASKED,
        _STOPPED_NODES,
        _PRINCIPALS,
        _FACTS,
        _DESCRIPTIONS,
        _RUNS,
    ),
)
