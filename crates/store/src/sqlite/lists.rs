//! Lists: conversations and dead letters in pages, and conversations for which a moment has come.

use std::collections::{BinaryHeap, VecDeque};

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};

use super::{
    mark::Mark,
    rows::{limited, parsed},
    shelf::Shelf,
    writer::Failure,
};

/// Where a conversation stands in a list: by the time at which its log last grew, then by number.
pub(super) type Place = (i64, i64);

/// Before the first.
pub(super) const NEWEST: Place = (i64::MAX, i64::MAX);

fn foreign_page() -> Failure {
    Failure::Refused("page: not a page that an answer gave as next".into())
}

fn check_limit(page: &PageRequest) -> Result<(), Failure> {
    if (1..=200).contains(&page.limit) { Ok(()) } else { Err(Failure::Refused("limit: from 1 to 200".into())) }
}

/// Pages go on behind the place of the last row, so that new rows neither shift nor repeat them.
pub(super) fn conversations(
    connection: &Connection,
    mark: Mark<'_>,
    filter: &ConversationFilter,
    page: &PageRequest,
) -> Result<Page<Conversation>, Failure> {
    check_limit(page)?;
    let behind = match &page.page {
        Some(page) => mark.read(page).ok_or_else(foreign_page)?.into(),
        None => NEWEST,
    };
    let rows = page.limit.saturating_add(1);
    // One view for all the statements: a conversation that changes its shelf meanwhile is seen once.
    let view = connection.unchecked_transaction()?;
    let mut found = if filter.contact.is_some() || filter.assignee.is_some() {
        of_one(&view, filter, behind, rows)?
    } else {
        merged(&view, filter, behind, rows)?
    };
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|((at, number), _)| mark.write([*at, *number]));
    Ok(Page { data: found.into_iter().map(|(_, conversation)| conversation).collect(), next })
}

/// What one person takes part in or looks after: few enough to be sorted, or in order in an index of their own.
fn of_one(
    connection: &Connection,
    filter: &ConversationFilter,
    behind: Place,
    rows: usize,
) -> Result<Vec<(Place, Conversation)>, Failure> {
    let (sql, values) = of_one_query(filter, behind, rows);
    let found = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| Ok(((row.get(1)?, row.get(2)?), parsed(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

pub(super) fn of_one_query(filter: &ConversationFilter, behind: Place, rows: usize) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut sql = match &filter.contact {
        Some(contact) => {
            values.push(contact.to_bytes().to_vec().into());
            "SELECT c.doc, c.updated_at, c.number FROM participants p
                CROSS JOIN conversations c ON c.number = p.conversation WHERE p.contact = ?"
                .to_owned()
        }
        None => "SELECT c.doc, c.updated_at, c.number FROM conversations c WHERE 1".to_owned(),
    };
    if let Some(assignee) = &filter.assignee {
        sql.push_str(" AND c.assignee = ?");
        values.push(assignee.clone().into());
    }
    let mut any_of = |column: &str, wanted: Vec<Value>| {
        sql.push_str(&format!(" AND {column} IN ({})", vec!["?"; wanted.len()].join(",")));
        values.extend(wanted);
    };
    if filter.status.is_some() || filter.owner.is_some() || filter.attention.is_some() {
        let shelves = Shelf::all().filter(|shelf| shelf.is_asked_for(filter));
        // Hidden from the choice of an index: what one person has to do with is the better way in.
        any_of("+c.shelf", shelves.map(|shelf| shelf.number().into()).collect());
    }
    if !filter.channels.is_empty() {
        any_of("+c.channel", filter.channels.iter().map(|channel| channel.as_str().to_owned().into()).collect());
    }
    sql.push_str(" AND (c.updated_at, c.number) < (?, ?) ORDER BY c.updated_at DESC, c.number DESC LIMIT ?");
    values.extend([behind.0.into(), behind.1.into(), limited(rows).into()]);
    (sql, values)
}

/// Merged from the shelves asked for, each of which an index has in order.
fn merged(
    connection: &Connection,
    filter: &ConversationFilter,
    behind: Place,
    rows: usize,
) -> Result<Vec<(Place, Conversation)>, Failure> {
    let mut sources = Vec::new();
    for (channel, number) in shelves(connection)? {
        let asked_for = filter.channels.is_empty() || filter.channels.iter().any(|wanted| wanted.as_str() == channel);
        if asked_for && Shelf::numbered(number).is_some_and(|shelf| shelf.is_asked_for(filter)) {
            sources.push(Source { channel, number, behind, ahead: VecDeque::new() });
        }
    }
    let mut first = BinaryHeap::new();
    for (index, source) in sources.iter_mut().enumerate() {
        first.extend(source.next(connection)?.map(|place| (place, index)));
    }
    let mut read = connection.prepare_cached("SELECT doc FROM conversations WHERE number = ?1")?;
    let mut found = Vec::new();
    while let Some((place, index)) = first.pop() {
        found.push((place, read.query_row([place.1], parsed)?));
        if found.len() == rows {
            break;
        }
        if let Some(source) = sources.get_mut(index) {
            first.extend(source.next(connection)?.map(|place| (place, index)));
        }
    }
    Ok(found)
}

/// Which shelves hold anything, found by as many steps through the index as there are.
fn shelves(connection: &Connection) -> Result<Vec<(String, i64)>, Failure> {
    let mut step = connection.prepare_cached(NEXT_SHELF)?;
    let mut found: Vec<(String, i64)> = Vec::new();
    let mut last = (String::new(), i64::MIN);
    while let Some(next) =
        step.query_row((&last.0, last.1), |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).optional()?
    {
        last.clone_from(&next);
        found.push(next);
    }
    Ok(found)
}

pub(super) const NEXT_SHELF: &str = "SELECT channel, shelf FROM conversations INDEXED BY conversations_by_shelf
    WHERE (channel, shelf) > (?1, ?2) ORDER BY channel, shelf LIMIT 1";

pub(super) const NEXT_ON_SHELF: &str = "SELECT updated_at, number FROM conversations INDEXED BY conversations_by_shelf
    WHERE channel = ?1 AND shelf = ?2 AND (updated_at, number) < (?3, ?4) ORDER BY updated_at DESC, number DESC LIMIT ?5";

/// A shelf while it is read.
struct Source {
    channel: String,
    number: i64,
    behind: Place,
    ahead: VecDeque<Place>,
}

impl Source {
    /// So many rows are looked up at once: most shelves give few to a page.
    const AT_ONCE: i64 = 16;

    fn next(&mut self, connection: &Connection) -> Result<Option<Place>, Failure> {
        if self.ahead.is_empty() {
            self.ahead = connection
                .prepare_cached(NEXT_ON_SHELF)?
                .query_map((&self.channel, self.number, self.behind.0, self.behind.1, Self::AT_ONCE), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<Result<_, _>>()?;
            self.behind = self.ahead.back().copied().unwrap_or(self.behind);
        }
        Ok(self.ahead.pop_front())
    }
}

pub(super) const TIMERS_DUE: &str =
    "SELECT doc FROM conversations WHERE timer_at <= ?1 ORDER BY timer_at, number LIMIT ?2";
pub(super) const NEXT_TIMER: &str =
    "SELECT timer_at FROM conversations WHERE timer_at IS NOT NULL ORDER BY timer_at, number LIMIT 1 OFFSET ?1";

pub(super) fn timers(connection: &Connection, now: Timestamp, limit: usize) -> Result<Timers, Failure> {
    let view = connection.unchecked_transaction()?;
    let due: Vec<Conversation> = view
        .prepare_cached(TIMERS_DUE)?
        .query_map((now.as_millis(), limited(limit)), parsed)?
        .collect::<Result<_, _>>()?;
    let next_due = view
        .prepare_cached(NEXT_TIMER)?
        .query_row([limited(due.len())], |row| row.get(0))
        .optional()?
        .map(Timestamp::from_millis);
    Ok(Timers { due, next_due })
}

pub(super) fn dead_letters(connection: &Connection, page: &PageRequest) -> Result<Page<DeadLetter>, Failure> {
    check_limit(page)?;
    let before = match &page.page {
        Some(page) => page.parse::<DeadLetterId>().map_err(|_| foreign_page())?.to_bytes(),
        None => [0xff; 16],
    };
    let mut data = connection
        .prepare_cached(DEAD_LETTERS)?
        .query_map((before, limited(page.limit.saturating_add(1))), parsed::<DeadLetter>)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = data.len() > page.limit;
    data.truncate(page.limit);
    let next = data.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { data, next })
}

pub(super) const DEAD_LETTERS: &str = "SELECT doc FROM dead_letters WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
