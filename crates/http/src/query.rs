//! Query strings of lists: `limit`, `page`, and what a list can be narrowed by. A key that is not known is refused: a
//! filter with a typing error must not quietly list everything.

use frontdesk_engine::{DeskError, nearest};
use frontdesk_model::PageRequest;
use url::form_urlencoded;

use crate::problem::{Problem, ProblemKind};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// Pages are short; a longer text is nobody's page.
const MAX_PAGE: usize = 512;

/// Reads the query of a list. `filter` takes each of `filters` that is there.
pub(crate) fn of_a_list(
    raw: Option<&str>,
    filters: &'static [&'static str],
    mut filter: impl FnMut(&'static str, &str) -> Result<(), Problem>,
) -> Result<PageRequest, Problem> {
    let mut limit = None;
    let mut page = None;
    let mut seen: Vec<&'static str> = Vec::new();
    for (key, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
        let known = ["limit", "page"].into_iter().chain(filters.iter().copied()).find(|known| *known == key);
        let Some(key) = known else { return Err(unknown(&key, &["limit", "page"], filters)) };
        if seen.contains(&key) {
            return Err(refused(format!("{key}: is there twice; write it once")));
        }
        seen.push(key);
        match key {
            "limit" => limit = Some(read_limit(&value)?),
            "page" => page = Some(read_page(&value)?),
            _ => filter(key, &value)?,
        }
    }
    Ok(PageRequest { limit: limit.unwrap_or(DEFAULT_LIMIT), page })
}

/// What a list says when its page cannot be read: of all that it was asked for only the page can be wrong still.
pub(crate) fn of_a_page(error: DeskError) -> Problem {
    match error {
        DeskError::Invalid(_) => refused("page: write what the answer before gave as next, or leave it out".into()),
        other => other.into(),
    }
}

/// Reads the query of what is no list: only these keys, each at most once and not empty.
pub(crate) fn words(
    raw: Option<&str>,
    known: &'static [&'static str],
    mut take: impl FnMut(&'static str, &str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut seen: Vec<&'static str> = Vec::new();
    for (key, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
        let Some(key) = known.iter().copied().find(|known| *known == key) else {
            return Err(unknown(&key, &[], known));
        };
        if seen.contains(&key) {
            return Err(refused(format!("{key}: is there twice; write it once")));
        }
        seen.push(key);
        if value.is_empty() {
            return Err(refused(format!("{key}: is empty; leave it out")));
        }
        take(key, &value)?;
    }
    Ok(())
}

/// Reads the query of what has a name, of at most so many bytes.
pub(crate) fn name(raw: Option<&str>, most: usize) -> Result<Option<String>, Problem> {
    let mut name = None;
    words(raw, &["name"], |_, value| {
        if value.len() > most {
            return Err(refused(format!("name: write at most {most} bytes")));
        }
        name = Some(value.to_owned());
        Ok(())
    })?;
    Ok(name)
}

/// For paths that take no query.
pub(crate) fn none(raw: Option<&str>) -> Result<(), Problem> {
    match form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).next() {
        None => Ok(()),
        Some((key, _)) => Err(unknown(&key, &[], &[])),
    }
}

/// A value that is not one of the words a key takes.
pub(crate) fn not_one_of(key: &str, words: &[&str]) -> Problem {
    refused(format!("{key}: write one of {}", words.join(", ")))
}

pub(crate) fn refused(detail: String) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}

fn read_limit(value: &str) -> Result<usize, Problem> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| refused(format!("limit: write a whole number from 1 to {MAX_LIMIT}")))
}

fn read_page(value: &str) -> Result<String, Problem> {
    if value.is_empty() || value.len() > MAX_PAGE {
        return Err(refused("page: write what the answer before gave as next, or leave it out".into()));
    }
    Ok(value.to_owned())
}

fn unknown(key: &str, always: &[&str], filters: &[&str]) -> Problem {
    let known: Vec<_> = filters.iter().chain(always).copied().collect();
    let mend = match known.as_slice() {
        [] => "this path takes no query".to_owned(),
        known => {
            let hint = nearest(key, known).map(|nearest| format!("did you mean {nearest}? ")).unwrap_or_default();
            format!("{hint}known here are {}", known.join(", "))
        }
    };
    refused(format!("{}: not a query key of this path; {mend}", excerpt(key)))
}

/// The start of what a client wrote, without what could disturb a terminal.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(40).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    fn read(raw: &str) -> Result<PageRequest, Problem> {
        of_a_list(Some(raw), &["status"], |_, _| Ok(()))
    }

    #[test]
    fn a_list_is_read_with_its_bounds() {
        assert_eq!(of_a_list(None, &[], |_, _| Ok(())).unwrap(), PageRequest { limit: 50, page: None });
        assert_eq!(read("limit=1").unwrap().limit, 1);
        assert_eq!(read("limit=200&page=a%2Bb").unwrap(), PageRequest { limit: 200, page: Some("a+b".into()) });
        for bad in ["limit=0", "limit=201", "limit=-1", "limit=", "limit=1e2", "limit=99999999999999999999", "page="] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_or_repeated_key_is_refused() {
        for bad in ["stauts=open", "limit=1&limit=2", "status=open&status=open", "Limit=1", "%00=1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(none(Some("x=1")).is_err());
        assert!(none(Some("")).is_ok());
        assert!(none(None).is_ok());
    }
}
