//! A table as text in columns of one width.

use unicode_width::UnicodeWidthStr as _;

use super::plain;
use crate::tree::{Column, Span, Table};

/// Rows as lines, cells side by side, the head underlined.
pub(super) fn aligned(table: &Table) -> String {
    let cell = |row: &Vec<Span>| plain::row(row).replace('\n', " ").trim().to_owned();
    let head: Vec<String> = table.head.iter().map(cell).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let count = rows.iter().map(Vec::len).fold(head.len(), usize::max);
    let width_of = |nth: usize| {
        std::iter::once(&head)
            .chain(&rows)
            .filter_map(|row| row.get(nth))
            .map(|cell| cell.width())
            .max()
            .unwrap_or(0)
            .max(1)
    };
    let widths: Vec<usize> = (0..count).map(width_of).collect();

    let mut lines = Vec::with_capacity(rows.len() + 2);
    let line = |row: &[String]| {
        let cells = widths.iter().enumerate().map(|(nth, width)| {
            let column = table.columns.get(nth).copied().unwrap_or_default();
            padded(row.get(nth).map_or("", String::as_str), *width, column)
        });
        cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
    };
    if head.iter().any(|cell| !cell.is_empty()) {
        lines.push(line(&head));
        lines.push(widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-+-"));
    }
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

fn padded(cell: &str, width: usize, column: Column) -> String {
    let missing = width.saturating_sub(cell.width());
    let before = match column {
        Column::Unsaid | Column::Left => 0,
        Column::Center => missing / 2,
        Column::Right => missing,
    };
    format!("{}{cell}{}", " ".repeat(before), " ".repeat(missing - before))
}
