//! How much there is of everything.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};

use super::{
    effects::lane_number,
    memory::LaneKey,
    record::More,
    rows::{id_bytes, parse, place},
    shelf::Shelf,
    writer::Failure,
};

/// A lane with something to do.
struct Working {
    lane: Lane,
    channel: ChannelName,
    not_before: Timestamp,
    oldest_at: Timestamp,
}

/// `held`: the lanes that are claimed.
pub(super) fn census(connection: &Connection, held: &BTreeSet<LaneKey>, now: Timestamp) -> Result<Census, Failure> {
    let view = connection.unchecked_transaction()?;
    let mut census = Census::default();
    let mut lanes: BTreeMap<(Lane, ChannelName), LaneCensus> = BTreeMap::new();
    for (lane, statement) in [(Lane::Agent, AGENT_LANES), (Lane::Deliver, DELIVER_LANES)] {
        let mut statement = view.prepare_cached(statement)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let id = ConversationId::from_bytes(id_bytes(row, 0)?);
            let channel = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            let channel = ChannelName::new(channel).map_err(|error| Failure::Refused(error.to_string()))?;
            let not_before = Timestamp::from_millis(row.get(3)?);
            let more = row.get::<_, Option<String>>(5)?.as_deref().map(parse).transpose()?.unwrap_or_default();
            let Some(oldest_at) = oldest(&view, lane, row.get(1)?, row.get(4)?, &more)? else { continue };
            let working = Working { lane, channel, not_before, oldest_at };
            count(&mut lanes, working, held.contains(&(id, lane)), now);
        }
    }
    census.lanes = lanes.into_values().collect();
    let mut statement = view.prepare_cached(
        "SELECT shelf, count(*) FROM conversations INDEXED BY conversations_by_shelf GROUP BY channel, shelf",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let conversations = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        match Shelf::numbered(row.get(0)?).map(|shelf| shelf.status) {
            Some(Status::Open) => census.open += conversations,
            Some(Status::Pending) => census.pending += conversations,
            Some(Status::Resolved) => census.resolved += conversations,
            None => {}
        }
    }
    let letters: i64 = view.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))?;
    census.dead_letters = u64::try_from(letters).unwrap_or(0);
    Ok(census)
}

fn count(lanes: &mut BTreeMap<(Lane, ChannelName), LaneCensus>, working: Working, held: bool, now: Timestamp) {
    let Working { lane, channel, not_before, oldest_at } = working;
    let counted = lanes.entry((lane, channel.clone())).or_insert_with(|| LaneCensus {
        lane,
        channel,
        ready: 0,
        claimed: 0,
        parked: 0,
        oldest_at: None,
    });
    match (held, not_before <= now) {
        (true, _) => counted.claimed += 1,
        (false, true) => counted.ready += 1,
        (false, false) => counted.parked += 1,
    }
    counted.oldest_at = Some(counted.oldest_at.map_or(oldest_at, |oldest| oldest.min(oldest_at)));
}

const AGENT_LANES: &str = "SELECT id, number, channel, agent_at, agent_cursor, agent_more
    FROM conversations INDEXED BY agent_due WHERE agent_at IS NOT NULL";
const DELIVER_LANES: &str = "SELECT id, number, channel, deliver_at, deliver_cursor, deliver_more
    FROM conversations INDEXED BY deliver_due WHERE deliver_at IS NOT NULL";

/// When the oldest event was recorded that the lane still has to do; `None` when it has nothing to do after all.
fn oldest(
    connection: &Connection,
    lane: Lane,
    conversation: i64,
    cursor: i64,
    more: &More,
) -> Result<Option<Timestamp>, Failure> {
    let mut oldest = connection
        .prepare_cached(
            "SELECT at FROM events WHERE conversation = ?1 AND seq > ?2 AND marks & ?3 <> 0 ORDER BY seq LIMIT 1",
        )?
        .query_row((conversation, cursor, lane_number(lane)), |row| row.get::<_, i64>(0))
        .optional()?;
    for redo in &more.redo {
        let at = connection
            .prepare_cached("SELECT at FROM events WHERE conversation = ?1 AND seq = ?2")?
            .query_row((conversation, place(redo.seq)), |row| row.get(0))
            .optional()?;
        oldest = match (oldest, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(oldest.map(Timestamp::from_millis))
}
