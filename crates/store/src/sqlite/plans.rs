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
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use rusqlite::{Connection, StatementStatus};

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
