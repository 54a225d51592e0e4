//! `[attachments]`: where their bytes lie and how large one may be.

use std::path::PathBuf;

use frontdesk_model::{Key, Shape};

use super::{
    Attachments,
    checker::Checker,
    finding::Severity,
    sections::{optional, problem, section},
    source::Node,
};

const URL: &str = "file:./data/attachments";
const MAX_BYTES: u64 = 25_000_000;
/// A larger file is nobody's attachment, and takes longer than fetching may.
const MOST: u64 = 1_000_000_000;

/// `[attachments]`.
pub(super) const ATTACHMENTS: &[Key] = &[
    optional("url", Shape::Text, "the folder in which their bytes lie"),
    optional("max_bytes", Shape::Size, "no attachment is larger"),
];

/// `None`: something is wrong, and the checker knows what. `beside`: the folder of the store or of this daemon.
pub(super) fn attachments(
    checker: &mut Checker<'_>,
    node: Option<&Node>,
    beside: Option<PathBuf>,
) -> Option<Attachments> {
    let mut table = section(checker, node, "attachments", ATTACHMENTS)?;
    let max_bytes = table.settings.number("max_bytes").unwrap_or(MAX_BYTES);
    if !(1..=MOST).contains(&max_bytes) {
        let mend = "write a size from 1 B to 1 GB, such as \"25 MB\"";
        checker.complain(Severity::Error, &mut table, problem("max_bytes", "a size that no attachment has", mend));
    }
    let folder = match (table.settings.text("url"), beside) {
        (None, Some(beside)) => beside.join("attachments"),
        (url, _) => {
            let url = url.unwrap_or(URL).to_owned();
            let path = url.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
            let Some(path) = path.filter(|path| !path.is_empty()) else {
                let mend = "write file: and a folder, such as \"file:./data/attachments\"";
                checker.complain(Severity::Error, &mut table, problem("url", "not a folder", mend));
                return None;
            };
            checker.base.join(path)
        }
    };
    Some(Attachments { folder, max_bytes })
}
