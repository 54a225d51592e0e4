//! A conversation as it is stored, with its two lanes: how far each has come, what it has to do once more, when it is due.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::Value};
use serde::{Deserialize, Serialize};

use super::{
    rows::{json, parse, place, seq},
    shelf::Shelf,
};

/// One conversation with its lanes.
pub(super) struct Record {
    /// What stands for it in other tables.
    pub(super) number: i64,
    pub(super) conversation: Conversation,
    agent: LaneState,
    deliver: LaneState,
    /// What of it stands in the file, as far as keys go; `None` before it was written the first time.
    written: Option<Keys>,
    /// The newest event that waits for an answer, where that is known.
    pub(super) newest_waiting: Option<Seq>,
    /// The outbound message that was appended last, where that is known and its parts are not frozen.
    pub(super) unfrozen: Option<MessageId>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LaneState {
    pub(super) cursor: Seq,
    head: Seq,
    /// Means something only while there is something to do.
    pub(super) not_before: Timestamp,
    waiting: Option<Waiting>,
    pub(super) more: More,
    /// The event that is next, where that is known.
    pub(super) next: Option<Seq>,
}

/// What most lanes have nothing of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct More {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tried: Vec<Tried>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) redo: Vec<Redo>,
}

/// What the tries at one of the lane's events left behind. A replay and the event that was next before it came each have
/// their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    seq: Seq,
    turn: Turn,
    #[serde(flatten)]
    progress: Progress,
}

/// An event that a replay asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redo {
    pub(super) seq: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_from: Option<Seq>,
}

impl LaneState {
    pub(super) fn has_work(&self) -> bool {
        self.head > self.cursor || !self.more.redo.is_empty()
    }

    /// An event wakes it. A lane that has work already keeps its time: a parked or leased one is not moved by new work.
    pub(super) fn wake(&mut self, at: Seq, now: Timestamp) {
        if !self.has_work() {
            self.due(now);
            self.next = Some(at);
        }
        self.head = at;
    }

    /// An event passes it by, as it is switched off. With nothing left to do it follows the tail.
    pub(super) fn pass_by(&mut self, at: Seq) {
        if self.head <= self.cursor {
            (self.cursor, self.head, self.next) = (at, at, None);
        }
    }

    /// It has done with all of its own events up to here, and what is left is due.
    pub(super) fn done_through(&mut self, through: Seq, now: Timestamp) {
        self.cursor = self.cursor.max(through);
        self.head = self.head.max(through);
        self.due(now);
    }

    /// A replay is done, and what is left is due.
    pub(super) fn redone(&mut self, at: Seq, now: Timestamp) {
        self.more.redo.retain(|redo| redo.seq != at);
        self.due(now);
    }

    /// Has it do the letter's event once more, before its other events and at once.
    pub(super) fn redo(&mut self, letter: &DeadLetter, now: Timestamp) {
        if !self.more.redo.iter().any(|redo| redo.seq == letter.seq) {
            self.more.redo.push(Redo { seq: letter.seq, batch_from: letter.batch_from });
        }
        self.due(now);
    }

    /// Starts over behind `cursor`. The tries so far count no more.
    pub(super) fn restart(&mut self, cursor: Seq, head: Seq, now: Timestamp) {
        (self.cursor, self.head) = (cursor, head);
        self.more.tried.clear();
        self.due(now);
    }

    /// Skips all there is.
    pub(super) fn follow_tail(&mut self, end: Seq) {
        *self = Self { cursor: end, head: end, ..Self::default() };
    }

    /// Whether there may be something to do behind the cursor.
    pub(super) fn is_behind(&self) -> bool {
        self.head > self.cursor
    }

    /// The first event that a replay has still to do with.
    pub(super) fn first_redone(&self) -> Option<Seq> {
        self.more.redo.iter().map(|redo| redo.batch_from.unwrap_or(redo.seq)).min()
    }

    /// An event is no work any more.
    pub(super) fn forget(&mut self, gone: Seq) {
        self.more.redo.retain(|redo| redo.seq != gone);
        self.more.tried.retain(|tried| tried.seq != gone);
        self.next = None;
    }

    /// Nothing beyond the cursor is for this lane: it is done.
    pub(super) fn found_nothing(&mut self) {
        self.cursor = self.head;
    }

    /// Gives it back, to be due at the release's moment.
    pub(super) fn park(&mut self, at: Seq, turn: Turn, release: &Release) {
        self.more.tried.retain(|tried| (tried.seq, tried.turn) != (at, turn));
        self.more.tried.push(Tried { seq: at, turn, progress: release.progress });
        self.not_before = release.until;
        self.waiting.clone_from(&release.waiting);
    }

    fn due(&mut self, at: Timestamp) {
        (self.not_before, self.waiting, self.next) = (at, None, None);
    }

    /// What earlier claims of this event left behind.
    pub(super) fn progress(&self, at: Seq, turn: Turn) -> Progress {
        let of = |tried: &&Tried| (tried.seq, tried.turn) == (at, turn);
        self.more.tried.iter().find(of).map_or_else(Progress::default, |tried| tried.progress)
    }

    /// Where the batch began that a replayed event ends.
    pub(super) fn batch_from(&self, at: Seq, turn: Turn) -> Option<Seq> {
        let redo = self.more.redo.iter().find(|redo| redo.seq == at).filter(|_| turn == Turn::Replay);
        redo.and_then(|redo| redo.batch_from)
    }

    /// Whether an earlier claim of the event that is next was released.
    fn is_tried(&self) -> bool {
        let next = self.more.redo.first();
        let of_next = |tried: &Tried| match next {
            Some(redo) => (tried.seq, tried.turn) == (redo.seq, Turn::Replay),
            None => tried.turn == Turn::Next,
        };
        self.more.tried.iter().any(of_next)
    }

    /// Forgets what is about nothing that the lane has still to do.
    fn tidy(&mut self) {
        if !self.more.tried.is_empty() {
            let (cursor, redo) = (self.cursor, &self.more.redo);
            self.more.tried.retain(|tried| match tried.turn {
                Turn::Next => tried.seq > cursor,
                Turn::Replay => redo.iter().any(|redo| redo.seq == tried.seq),
            });
        }
        if !self.has_work() {
            self.due(Timestamp::default());
        }
    }

    fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let text = |column| row.get::<_, Option<String>>(column);
        Ok(Self {
            cursor: seq(row, first)?,
            head: seq(row, first + 1)?,
            not_before: Timestamp::from_millis(row.get::<_, Option<i64>>(first + 2)?.unwrap_or(0)),
            waiting: text(first + 3)?.as_deref().map(parse).transpose()?,
            more: text(first + 4)?.as_deref().map(parse).transpose()?.unwrap_or_default(),
            next: None,
        })
    }

    /// The columns `cursor`, `head`, `at`, `tried`, `waiting`, `more`.
    fn columns(&self) -> rusqlite::Result<[Value; 6]> {
        let more = if self.more == More::default() { None } else { Some(json(&self.more)?) };
        Ok([
            place(self.cursor).into(),
            place(self.head).into(),
            self.has_work().then_some(self.not_before.as_millis()).into(),
            self.is_tried().into(),
            self.waiting.as_ref().map(json).transpose()?.into(),
            more.into(),
        ])
    }
}

/// What of a conversation stands in columns of its own: rewritten only where it changes, as most of it is in an index.
#[derive(Clone, PartialEq, Eq)]
struct Keys {
    channel: ChannelName,
    shelf: i64,
    updated_at: Timestamp,
    assignee: Option<String>,
    timer_at: Option<Timestamp>,
    agent: LaneState,
    deliver: LaneState,
}

macro_rules! load {
    ($condition:literal) => {
        concat!(
            "SELECT number, agent_cursor, agent_head, agent_at, agent_waiting, agent_more,
                deliver_cursor, deliver_head, deliver_at, deliver_waiting, deliver_more, doc FROM conversations WHERE ",
            $condition
        )
    };
}

impl Record {
    /// One that is not in the file yet.
    pub(super) fn new(number: i64, conversation: Conversation) -> Self {
        let (agent, deliver) = (LaneState::default(), LaneState::default());
        Self { number, conversation, agent, deliver, written: None, newest_waiting: None, unfrozen: None }
    }

    pub(super) fn load(connection: &Connection, id: ConversationId) -> rusqlite::Result<Option<Self>> {
        connection.prepare_cached(load!("id = ?1"))?.query_row([id.to_bytes()], Self::read).optional()
    }

    pub(super) fn load_thread(connection: &Connection, thread: &ThreadKey) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(load!("kind = ?1 AND account = ?2 AND thread = ?3"))?
            .query_row((thread.kind.as_str(), thread.account.as_str(), thread.thread.as_str()), Self::read)
            .optional()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let conversation = parse(row.get_ref(11)?.as_str()?)?;
        let mut record = Self::new(row.get(0)?, conversation);
        (record.agent, record.deliver) = (LaneState::read(row, 1)?, LaneState::read(row, 6)?);
        record.written = Some(record.keys());
        Ok(record)
    }

    pub(super) fn is_stored(&self) -> bool {
        self.written.is_some()
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneState {
        match lane {
            Lane::Agent => &self.agent,
            Lane::Deliver => &self.deliver,
        }
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Agent => &mut self.agent,
            Lane::Deliver => &mut self.deliver,
        }
    }

    fn keys(&self) -> Keys {
        let conversation = &self.conversation;
        Keys {
            channel: conversation.channel.clone(),
            shelf: Shelf::of(conversation).number(),
            updated_at: conversation.updated_at,
            assignee: conversation.assignee.clone(),
            timer_at: timer_at(conversation),
            agent: self.agent.clone(),
            deliver: self.deliver.clone(),
        }
    }

    /// Writes what changed since it was written last. An index is touched only where its columns are named, and most verbs
    /// change few of them.
    pub(super) fn save(&mut self, connection: &Connection, document: Document) -> rusqlite::Result<()> {
        self.agent.tidy();
        self.deliver.tidy();
        let keys = self.keys();
        let mut row = RowChange::default();
        let written = self.written.as_ref();
        if written
            .is_none_or(|old| (&old.channel, old.shelf, old.updated_at) != (&keys.channel, keys.shelf, keys.updated_at))
        {
            row.set("channel", keys.channel.as_str().to_owned());
            row.set("shelf", keys.shelf);
            row.set("updated_at", keys.updated_at.as_millis());
        }
        if written.is_none_or(|old| old.assignee != keys.assignee) {
            row.set("assignee", keys.assignee.clone());
        }
        if written.is_none_or(|old| old.timer_at != keys.timer_at) {
            row.set("timer_at", keys.timer_at.map(Timestamp::as_millis));
        }
        row.set_lane(AGENT_COLUMNS, written.map(|old| &old.agent), &keys.agent)?;
        row.set_lane(DELIVER_COLUMNS, written.map(|old| &old.deliver), &keys.deliver)?;
        if written.is_none() || document == Document::Changed {
            row.set("doc", json(&self.conversation)?);
        }
        if written.is_some() {
            row.update(connection, self.number)?;
        } else {
            let thread = &self.conversation.thread;
            row.set("number", self.number);
            row.set("id", self.conversation.id.to_bytes().to_vec());
            row.set("kind", thread.kind.as_str().to_owned());
            row.set("account", thread.account.as_str().to_owned());
            row.set("thread", thread.thread.as_str().to_owned());
            row.insert(connection)?;
        }
        self.written = Some(keys);
        Ok(())
    }
}

/// When a moment of it comes next.
pub(super) fn timer_at(conversation: &Conversation) -> Option<Timestamp> {
    let fetching = conversation.fetching.map(|fetching| fetching.at);
    [conversation.snoozed_until, conversation.answer_by, fetching].into_iter().flatten().min()
}

/// Whether a verb changed what is not in columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Changed,
    AsItWas,
}

const AGENT_COLUMNS: [&str; 6] =
    ["agent_cursor", "agent_head", "agent_at", "agent_tried", "agent_waiting", "agent_more"];
const DELIVER_COLUMNS: [&str; 6] =
    ["deliver_cursor", "deliver_head", "deliver_at", "deliver_tried", "deliver_waiting", "deliver_more"];

/// Columns of one row and what they become.
#[derive(Default)]
struct RowChange {
    columns: Vec<&'static str>,
    values: Vec<Value>,
}

impl RowChange {
    fn set(&mut self, column: &'static str, value: impl Into<Value>) {
        self.columns.push(column);
        self.values.push(value.into());
    }

    fn set_lane(&mut self, names: [&'static str; 6], old: Option<&LaneState>, new: &LaneState) -> rusqlite::Result<()> {
        if old == Some(new) {
            return Ok(());
        }
        let old = old.map(LaneState::columns).transpose()?.map(|columns| columns.map(Some)).unwrap_or_default();
        for ((name, old), new) in names.into_iter().zip(old).zip(new.columns()?) {
            if old.as_ref() != Some(&new) {
                self.set(name, new);
            }
        }
        Ok(())
    }

    fn update(mut self, connection: &Connection, number: i64) -> rusqlite::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let sql = format!("UPDATE conversations SET {} = ? WHERE number = ?", self.columns.join(" = ?, "));
        self.values.push(number.into());
        connection.prepare_cached(&sql)?.execute(params_from_iter(self.values)).map(drop)
    }

    fn insert(self, connection: &Connection) -> rusqlite::Result<()> {
        let marks = vec!["?"; self.columns.len()].join(", ");
        let sql = format!("INSERT INTO conversations ({}) VALUES ({marks})", self.columns.join(", "));
        connection.prepare_cached(&sql)?.execute(params_from_iter(self.values)).map(drop)
    }
}
