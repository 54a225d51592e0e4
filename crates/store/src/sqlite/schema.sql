CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE conversations (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    thread TEXT NOT NULL,
    channel TEXT NOT NULL,
    status TEXT NOT NULL,
    attention TEXT,
    updated_at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (kind, account, thread)
) WITHOUT ROWID;
CREATE INDEX conversations_by_time ON conversations (updated_at, id);

CREATE TABLE events (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    wakes INTEGER NOT NULL,
    contact INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (conversation, seq)
) WITHOUT ROWID;

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT
) WITHOUT ROWID;
CREATE INDEX messages_by_place ON messages (conversation, seq);

CREATE TABLE parts (
    message BLOB NOT NULL,
    place INTEGER NOT NULL,
    frozen TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (message, place)
) WITHOUT ROWID;

CREATE TABLE lanes (
    conversation BLOB NOT NULL,
    lane INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    head INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    waiting TEXT,
    progress TEXT,
    redo TEXT,
    PRIMARY KEY (conversation, lane)
) WITHOUT ROWID;
CREATE INDEX lanes_with_work ON lanes (lane, not_before, conversation) WHERE head > cursor OR redo IS NOT NULL;

CREATE TABLE dedupe (
    key BLOB PRIMARY KEY,
    conversation BLOB NOT NULL,
    message BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE contacts (id BLOB PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_letters (id BLOB PRIMARY KEY, conversation BLOB NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX dead_letters_by_conversation ON dead_letters (conversation);

CREATE TABLE operations (id BLOB PRIMARY KEY, at INTEGER NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX operations_by_time ON operations (at);
