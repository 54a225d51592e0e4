CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- One row holds all that a verb changes of a conversation: its document, the keys that lists and timers look for, and its two
-- lanes. `number` stands for the conversation everywhere else. `shelf`: status, owner and attention in one number, so
-- that one index serves each list of conversations. `timer_at`: the earliest of `snoozed_until`, `answer_by` and
-- `fetching.at`. Of a lane:
-- `at`, when it is due, as long as it has anything to do; `tried`, whether an earlier claim of its event was released;
-- `waiting`, what it waits for; `more`, what is left of those tries, and what a replay asked for.
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    thread TEXT NOT NULL,
    channel TEXT NOT NULL,
    shelf INTEGER NOT NULL,
    assignee TEXT,
    timer_at INTEGER,
    updated_at INTEGER NOT NULL,
    agent_cursor INTEGER NOT NULL,
    agent_head INTEGER NOT NULL,
    agent_at INTEGER,
    agent_tried INTEGER NOT NULL,
    agent_waiting TEXT,
    agent_more TEXT,
    deliver_cursor INTEGER NOT NULL,
    deliver_head INTEGER NOT NULL,
    deliver_at INTEGER,
    deliver_tried INTEGER NOT NULL,
    deliver_waiting TEXT,
    deliver_more TEXT,
    doc TEXT NOT NULL,
    UNIQUE (kind, account, thread)
);
CREATE INDEX conversations_by_shelf ON conversations (channel, shelf, updated_at);
CREATE INDEX conversations_by_assignee ON conversations (assignee, updated_at) WHERE assignee IS NOT NULL;
CREATE INDEX conversations_by_timer ON conversations (timer_at) WHERE timer_at IS NOT NULL;
CREATE INDEX agent_due ON conversations (agent_tried, agent_at, agent_waiting) WHERE agent_at IS NOT NULL;
CREATE INDEX deliver_due ON conversations (deliver_tried, deliver_at, deliver_waiting) WHERE deliver_at IS NOT NULL;
CREATE INDEX agent_parked ON conversations (agent_waiting) WHERE agent_waiting IS NOT NULL;
CREATE INDEX deliver_parked ON conversations (deliver_waiting) WHERE deliver_waiting IS NOT NULL;

CREATE TABLE participants (
    contact BLOB NOT NULL,
    conversation INTEGER NOT NULL,
    PRIMARY KEY (contact, conversation)
) WITHOUT ROWID;

-- `position` is the order in which everything was logged, over all conversations: the change feed's. `marks`: which lanes
-- the event woke or passed by, whether it brings a message, whether that waits for an answer. A position never comes again,
-- though its event was taken away.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    marks INTEGER NOT NULL,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX events_by_place ON events (conversation, seq, marks);

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    conversation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT,
    dedupe BLOB
) WITHOUT ROWID;

CREATE TABLE parts (
    message BLOB NOT NULL,
    place INTEGER NOT NULL,
    frozen TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (message, place)
) WITHOUT ROWID;

-- `until`, once the message was taken away: when this is forgotten too; `gone`: its conversation's id.
CREATE TABLE dedupe (
    key BLOB PRIMARY KEY,
    conversation INTEGER NOT NULL,
    message BLOB NOT NULL,
    until INTEGER,
    gone BLOB
) WITHOUT ROWID;
CREATE INDEX dedupe_by_end ON dedupe (until) WHERE until IS NOT NULL;

-- Further keys under which messages are found.
CREATE TABLE also_known (key BLOB PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX also_known_by_message ON also_known (message);

-- What channels remember for their accounts.
CREATE TABLE remembered (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE contacts (id BLOB PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_letters (id BLOB PRIMARY KEY, conversation INTEGER NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX dead_letters_by_conversation ON dead_letters (conversation);

-- Contacts that are being erased: which conversation is in hand, and how far.
CREATE TABLE erasing (contact BLOB PRIMARY KEY, conversation INTEGER, seq INTEGER NOT NULL) WITHOUT ROWID;

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
