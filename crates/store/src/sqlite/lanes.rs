//! A lane as it is stored: how far it has come, what it has to do once more, when it is due.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{
    effects::lane_number,
    rows::{self, parse, place, seq},
};

/// One lane of one conversation.
#[derive(Default)]
pub(super) struct LaneRow {
    pub(super) cursor: Seq,
    pub(super) head: Seq,
    pub(super) tried: Vec<Tried>,
    pub(super) redo: Vec<Redo>,
}

/// What the tries at one of the lane's events left behind. A replay and the event that was next before it came each have
/// their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) seq: Seq,
    pub(super) turn: Turn,
    #[serde(flatten)]
    pub(super) progress: Progress,
}

/// An event that a replay asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redo {
    pub(super) seq: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) batch_from: Option<Seq>,
}

impl LaneRow {
    /// A lane that nothing ever woke is a lane at the beginning.
    pub(super) fn load(connection: &Connection, conversation: ConversationId, lane: Lane) -> rusqlite::Result<Self> {
        let row = connection
            .prepare_cached("SELECT cursor, head, progress, redo FROM lanes WHERE conversation = ?1 AND lane = ?2")?
            .query_row((conversation.to_bytes(), lane_number(lane)), |row| {
                let text = |column| row.get::<_, Option<String>>(column);
                Ok(Self {
                    cursor: seq(row, 0)?,
                    head: seq(row, 1)?,
                    tried: text(2)?.as_deref().map(parse).transpose()?.unwrap_or_default(),
                    redo: text(3)?.as_deref().map(parse).transpose()?.unwrap_or_default(),
                })
            })
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// Writes the lane, to be due at `not_before` if it has anything to do.
    pub(super) fn save(
        mut self,
        connection: &Connection,
        conversation: ConversationId,
        lane: Lane,
        not_before: Timestamp,
        waiting: Option<&Waiting>,
    ) -> rusqlite::Result<()> {
        self.tidy();
        connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before, waiting, progress, redo)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET cursor = excluded.cursor, head = excluded.head,
                    not_before = excluded.not_before, waiting = excluded.waiting, progress = excluded.progress,
                    redo = excluded.redo",
            )?
            .execute((
                conversation.to_bytes(),
                lane_number(lane),
                place(self.cursor),
                place(self.head),
                not_before.as_millis(),
                waiting.map(rows::json).transpose()?,
                json_unless_empty(&self.tried)?,
                json_unless_empty(&self.redo)?,
            ))?;
        Ok(())
    }

    /// Has the lane done with all of its own events up to here.
    pub(super) fn done_through(&mut self, through: Seq) {
        self.cursor = self.cursor.max(through);
        self.head = self.head.max(through);
    }

    /// What earlier claims of this event left behind.
    pub(super) fn progress(&self, at: Seq, turn: Turn) -> Progress {
        let of = |tried: &&Tried| (tried.seq, tried.turn) == (at, turn);
        self.tried.iter().find(of).map_or_else(Progress::default, |tried| tried.progress)
    }

    /// Where the batch began that a replayed event ends.
    pub(super) fn batch_from(&self, at: Seq, turn: Turn) -> Option<Seq> {
        let redo = self.redo.iter().find(|redo| redo.seq == at).filter(|_| turn == Turn::Replay);
        redo.and_then(|redo| redo.batch_from)
    }

    /// Whether this event is still something the lane has to do.
    fn has_to_do(&self, at: Seq, turn: Turn) -> bool {
        match turn {
            Turn::Next => at > self.cursor,
            Turn::Replay => self.redo.iter().any(|redo| redo.seq == at),
        }
    }

    /// Forgets the tries at what the lane has not to do any more.
    fn tidy(&mut self) {
        let tried = std::mem::take(&mut self.tried);
        self.tried = tried.into_iter().filter(|tried| self.has_to_do(tried.seq, tried.turn)).collect();
    }
}

fn json_unless_empty<T: Serialize>(list: &[T]) -> rusqlite::Result<Option<String>> {
    if list.is_empty() { Ok(None) } else { rows::json(&list).map(Some) }
}
