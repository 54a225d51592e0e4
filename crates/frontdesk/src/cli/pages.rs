//! Lists that come page by page.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failure,
    daemon::{Ask, Daemon, piece, read},
    screen::note,
    words,
};

/// The most that the API gives on one page.
const LARGEST: usize = 200;
const USUAL: usize = 50;

/// How much of a list.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Paging {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = USUAL, value_parser = at_least_one)]
    limit: usize,
    /// Go on behind an earlier page
    #[arg(long, value_name = "NEXT")]
    page: Option<String>,
    /// All of them, however many there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "write a whole number from 1 on".into())
}

/// What a list has, and the page that follows.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    pub(super) data: Vec<Value>,
    pub(super) next: Option<String>,
}

impl List {
    /// In the API's own form.
    pub(super) fn as_json(&self) -> Value {
        json!({ "data": self.data, "next": self.next })
    }

    /// Each row, read.
    pub(super) fn rows<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        self.data.iter().cloned().map(read).collect()
    }

    /// Says how to see more, beside the output.
    pub(super) fn say_how_to_go_on(&self, command: &str) {
        if let Some(next) = &self.next {
            note(&format!("there are more: {command} --page {}, or --all", words::shell(next)));
        }
    }
}

impl Paging {
    /// Everything.
    pub(super) fn all() -> Self {
        Self { limit: USUAL, page: None, all: true }
    }

    /// Reads as many pages as it takes.
    pub(super) async fn of(&self, daemon: &Daemon, path: &str, filters: &[(&str, &str)]) -> Result<List, Failure> {
        let mut list = List { data: Vec::new(), next: self.page.clone() };
        loop {
            let left = if self.all { LARGEST } else { self.limit.saturating_sub(list.data.len()) };
            let mut query = format!("{path}?limit={}", left.min(LARGEST));
            for (key, value) in filters {
                query.push_str(&format!("&{key}={}", piece(value)));
            }
            if let Some(page) = &list.next {
                query.push_str(&format!("&page={}", piece(page)));
            }
            let found: List = daemon.read(&Ask::get(query)).await?;
            list.data.extend(found.data);
            list.next = found.next;
            if list.next.is_none() || (!self.all && list.data.len() >= self.limit) {
                return Ok(list);
            }
        }
    }
}
