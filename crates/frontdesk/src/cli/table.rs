//! Columns that align, whatever is written in them.

use super::{
    screen::{Paint, Screen},
    words,
};

const BETWEEN: &str = "  ";
/// A column is not made narrower than this to fit a screen.
const LEAST: usize = 12;
/// What stands where there is nothing.
const NOTHING: &str = "-";

/// A table with a title for each column.
pub(super) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Which column gives way on a narrow screen.
    yielding: usize,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// Words from anywhere.
    pub(super) fn of(text: impl AsRef<str>) -> Self {
        let shown = words::on_one_line(text.as_ref());
        let text = if shown.is_empty() { NOTHING.to_owned() } else { shown.into_owned() };
        Self { text, paint: Paint::Plain }
    }

    /// A number, or a dash for none.
    pub(super) fn count(number: u64) -> Self {
        Self::of(if number == 0 { String::new() } else { number.to_string() })
    }

    pub(super) fn painted(self, paint: Paint) -> Self {
        Self { paint, ..self }
    }
}

impl Table {
    /// `yielding`: which column is cut when the screen is too narrow for all.
    pub(super) fn new(titles: &[&'static str], yielding: usize) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new(), yielding }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each line ends with a line end; none has spaces at its end.
    pub(super) fn on(&self, screen: &Screen) -> String {
        let widths = self.widths(screen.width());
        let titles = self.titles.iter().map(|title| Cell { text: (*title).to_owned(), paint: Paint::Faint });
        let titles: Vec<Cell> = titles.collect();
        std::iter::once(&titles).chain(&self.rows).map(|row| line(row, &widths, screen)).collect()
    }

    fn widths(&self, screen: Option<usize>) -> Vec<usize> {
        let widest = |(at, title): (usize, &&str)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| words::width(&cell.text));
            cells.chain([title.len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.titles.iter().enumerate().map(widest).collect();
        let all = widths.iter().sum::<usize>() + BETWEEN.len() * widths.len().saturating_sub(1);
        if let (Some(screen), Some(yielding)) = (screen, widths.get_mut(self.yielding)) {
            *yielding = yielding.saturating_sub(all.saturating_sub(screen)).max((*yielding).min(LEAST));
        }
        widths
    }
}

fn line(row: &[Cell], widths: &[usize], screen: &Screen) -> String {
    let mut line = String::new();
    let mut gap = 0;
    for (cell, width) in row.iter().zip(widths) {
        let shown = words::cut(&cell.text, *width);
        line.push_str(&" ".repeat(gap));
        line.push_str(&screen.paint(cell.paint, &shown));
        gap = width.saturating_sub(words::width(&shown)) + BETWEEN.len();
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Colour;

    fn people() -> Table {
        let mut table = Table::new(&["WHO", "WHY", "HOW"], 1);
        table.row([Cell::of("Ada"), Cell::of("asks when we open, and much more than that"), Cell::of("well")]);
        table.row([Cell::of("李小龍"), Cell::of(""), Cell::of("un\u{1b}well").painted(Paint::Bad)]);
        table
    }

    #[test]
    fn columns_align_also_with_wide_letters() {
        let plain = people().on(&Screen::made_up(Colour::Off, None));
        assert_eq!(
            plain,
            "WHO     WHY                                         HOW\n\
             Ada     asks when we open, and much more than that  well\n\
             李小龍  -                                           un␛well\n"
        );
        assert!(!plain.contains('\u{1b}'));
    }

    #[test]
    fn one_column_gives_way_on_a_narrow_screen() {
        let narrow = people().on(&Screen::made_up(Colour::Off, Some(40)));
        assert_eq!(
            narrow,
            "WHO     WHY                      HOW\n\
             Ada     asks when we open, and…  well\n\
             李小龍  -                        un␛well\n"
        );
        assert!(narrow.lines().all(|line| words::width(line) <= 40), "{narrow}");
    }

    #[test]
    fn colours_take_no_room() {
        let coloured = people().on(&Screen::made_up(Colour::On, Some(40)));
        let bare = coloured.replace("\u{1b}[2m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(bare, people().on(&Screen::made_up(Colour::Off, Some(40))));
        assert!(coloured.contains("\u{1b}[31mun␛well\u{1b}[0m"));
    }
}
