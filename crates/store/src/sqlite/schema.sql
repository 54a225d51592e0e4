CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- `shelf`: status, owner and attention in one number, so that one index serves each list of conversations. `timer_at`: the
-- earlier of `snoozed_until` and `answer_by`.
CREATE TABLE conversations (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    thread TEXT NOT NULL,
    channel TEXT NOT NULL,
    shelf INTEGER NOT NULL,
    assignee TEXT,
    timer_at INTEGER,
    updated_at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (kind, account, thread)
) WITHOUT ROWID;
CREATE INDEX conversations_by_shelf ON conversations (channel, shelf, updated_at, id);
CREATE INDEX conversations_by_assignee ON conversations (assignee, updated_at, id) WHERE assignee IS NOT NULL;
CREATE INDEX conversations_by_timer ON conversations (timer_at, id) WHERE timer_at IS NOT NULL;

CREATE TABLE participants (
    contact BLOB NOT NULL,
    conversation BLOB NOT NULL,
    PRIMARY KEY (contact, conversation)
) WITHOUT ROWID;

-- `position` is the order in which everything was logged, over all conversations: the change feed's. `marks`: which lanes
-- the event woke or passed by, whether it brings a message, whether that waits for an answer.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    marks INTEGER NOT NULL,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX events_by_place ON events (conversation, seq, marks);

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT
) WITHOUT ROWID;

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
CREATE INDEX lanes_waiting ON lanes (waiting) WHERE waiting IS NOT NULL;

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

-- Requests that a caller may repeat under a key of its own.
CREATE TABLE requests (
    key BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    until INTEGER NOT NULL,
    conversation BLOB NOT NULL,
    version INTEGER NOT NULL,
    answer TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX requests_by_end ON requests (until);
