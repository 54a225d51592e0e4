//! Statements are prepared once for each connection and keep their plan.

use rusqlite::{Connection, config::DbConfig};

/// Keeps so many statements ready.
///
/// Without the query planner's stability guarantee they would not stay so: a cached statement's bindings are cleared when it is put
/// back, and SQLite takes another value in some comparisons (`marks & ?1 <> 0` is one) for a reason to
/// prepare the statement anew. That was a tenth of a message's whole cost. Nothing is lost: no plan here depends on a
/// value.
pub(super) fn keep(connection: &Connection, statements: usize) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(statements);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may stop at the first surprise

    use frontdesk_model::{ContactId, ConversationFilter, Lane, Status};
    use rusqlite::{Connection, StatementStatus};

    use super::super::{MAKE_DUE, SCHEMA, claims, effects, lists, log, verbs};

    /// How SQLite goes about it, a step a line, as it does with the guarantee.
    fn plan(sql: &str) -> Vec<String> {
        let connection = Connection::open_in_memory().unwrap();
        super::keep(&connection, 1).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = statement.parameter_count();
        let nothing = vec![rusqlite::types::Null; count];
        let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
        steps.map(Result::unwrap).collect()
    }

    /// A list of a million conversations costs what the rows cost that it gives.
    #[test]
    fn nothing_that_is_asked_for_often_reads_a_whole_table_or_sorts_one() {
        let resolved = ConversationFilter { status: Some(Status::Resolved), ..ConversationFilter::default() };
        let of_one = |filter| lists::of_one_query(&filter, lists::NEWEST, 50).0;
        let assigned = of_one(ConversationFilter { assignee: Some("Mia".into()), ..resolved });
        let statements = [
            (claims::due_rows(Lane::Agent), "agent_due (agent_tried=? AND agent_at>? AND agent_at<?)"),
            (claims::due_rows(Lane::Deliver), "deliver_due (deliver_tried=? AND deliver_at>? AND deliver_at<?)"),
            (effects::NEXT_MARKED, "COVERING INDEX events_by_place (conversation=? AND seq>?)"),
            (verbs::WAKE_AGENT, "agent_parked (agent_waiting=? AND rowid>? AND rowid<?)"),
            (verbs::WAKE_DELIVER, "deliver_parked (deliver_waiting=? AND rowid>? AND rowid<?)"),
            (verbs::LAST_OF_SOME_AGENT, "COVERING INDEX agent_parked (agent_waiting=? AND rowid>?)"),
            (verbs::LAST_OF_SOME_DELIVER, "COVERING INDEX deliver_parked (deliver_waiting=? AND rowid>?)"),
            (MAKE_DUE[0], "agent_due (agent_tried=? AND agent_at>?)"),
            (MAKE_DUE[1], "deliver_due (deliver_tried=? AND deliver_at>?)"),
            (lists::NEXT_SHELF, "COVERING INDEX conversations_by_shelf ((channel,shelf)>(?,?))"),
            (lists::NEXT_ON_SHELF, "COVERING INDEX conversations_by_shelf (channel=? AND shelf=? AND updated_at<?)"),
            (assigned.as_str(), "conversations_by_assignee (assignee=? AND updated_at<?)"),
            (lists::TIMERS_DUE, "conversations_by_timer (timer_at<?)"),
            (lists::NEXT_TIMER, "COVERING INDEX conversations_by_timer"),
            (lists::DEAD_LETTERS, "PRIMARY KEY (id<?)"),
            (log::MESSAGES, "events_by_place (conversation=? AND seq<?)"),
            (log::EVENTS, "events_by_place (conversation=? AND seq>?)"),
            (log::ALL_CHANGES, "INTEGER PRIMARY KEY (rowid>?)"),
            (log::CHANGES_OF_ONE, "events_by_place (conversation=? AND seq>?)"),
        ];
        for (sql, by) in statements {
            let plan = plan(sql).join("\n");
            assert!(plan.contains(by), "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }

    /// What a contact takes part in is few: it is looked up and sorted, whatever else is asked for.
    #[test]
    fn a_contacts_conversations_are_found_by_the_contact() {
        let contact = Some(ContactId::from_bytes([1; 16]));
        let assignee = Some("Mia".to_owned());
        let filter =
            ConversationFilter { contact, assignee, status: Some(Status::Open), ..ConversationFilter::default() };
        let plan = plan(&lists::of_one_query(&filter, lists::NEWEST, 50).0);
        assert!(plan[0].contains("SEARCH p USING PRIMARY KEY (contact=?)"), "{plan:?}");
        assert!(plan[1].contains("SEARCH c USING INTEGER PRIMARY KEY (rowid=?)"), "{plan:?}");
    }

    fn prepared_again(connection: &Connection) -> i32 {
        let table = "CREATE TABLE events (conversation INTEGER, seq INTEGER, marks INTEGER, PRIMARY KEY (conversation, seq)) WITHOUT ROWID";
        connection.execute_batch(table).unwrap();
        let query = "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND marks & ?3 <> 0 ORDER BY seq";
        let mut times = 0;
        for after in 0..3 {
            let mut statement = connection.prepare_cached(query).unwrap();
            assert!(!statement.exists((7, after, 1)).unwrap());
            times = statement.get_status(StatementStatus::RePrepare);
        }
        times
    }

    #[test]
    fn another_value_does_not_prepare_a_statement_anew() {
        let connection = Connection::open_in_memory().unwrap();
        super::keep(&connection, 8).unwrap();
        assert_eq!(prepared_again(&connection), 0);
        assert_eq!(prepared_again(&Connection::open_in_memory().unwrap()), 2, "the guarantee is not needed any more");
    }
}
