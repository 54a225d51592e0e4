//! Cuts a text into messages that a channel takes.
//!
//! The tree is taken apart into its leaves (paragraphs, headings, code), each with the path of quotes and list items that it
//! stands in. Leaves are put together again while they fit; a leaf that is too long for a message is cut at the end of a
//! sentence, else of a word, else of a grapheme (code: at the end of a line first). A message's leaves get their paths again: so
//! lists, quotes, fences with their language and styles are reopened in each message, a list with the number where it was cut.
//!
//! A message has something to see in it, and together they say what the whole says; only white space at the cuts goes. What
//! is cut is the tree, never what was rendered: so no entity, fence or escape can be cut.
//!
//! What does not fit although it is a single grapheme gives up what surrounds it, in this order: its path, its language,
//! its links (their addresses are then said in words), its styles. A grapheme that is still longer than a message (letters under
//! a pile of accents) is the one thing that is cut inside, between code points.

use std::collections::VecDeque;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    links,
    rules::ChannelRules,
    spans,
    telegram::Entity,
    tree::{Block, Document, List, Piece, Span, Style},
    write::{Degraded, Loss, Rendering, adapt, is_seen, render_adapted},
};

/// A limit below this is read as this: no markup would fit.
const MIN_LIMIT: usize = 16;
/// How far beyond what can fit we look, in bytes, to know where a word ends.
const LOOK_AHEAD: usize = 256;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it says; never only white space.
    pub text: String,
    /// Telegram's markup.
    pub entities: Vec<Entity>,
}

/// All messages of a text. None at all when there is nothing to be seen in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// From first to last.
    pub parts: Vec<Part>,
    /// What could not be shown as it was meant.
    pub degraded: Degraded,
}

/// Renders a text as messages that the channel takes.
#[must_use]
pub fn render_parts(document: &Document, rules: &ChannelRules) -> Parts {
    let rules =
        &ChannelRules { max_text: rules.max_text.max(MIN_LIMIT), max_entities: rules.max_entities.max(1), ..*rules };
    let mut parts = Parts::default();
    let adapted = adapt(document, rules.markup, &mut parts.degraded);
    let whole = render_adapted(&adapted, rules.markup);
    if rules.takes(&whole.text, &whole.entities) {
        parts.push(whole);
        return parts;
    }
    let mut splitter = Splitter { rules, parts, leaves: Vec::new(), used: Size::default() };
    let mut leaves = Vec::new();
    collect(adapted.blocks, &mut Vec::new(), &mut 0, &mut leaves);
    for leaf in leaves {
        splitter.add(leaf);
    }
    splitter.flush();
    splitter.parts
}

/// Buttons for a channel that has none: a numbered list at the end. The caller notes [`Loss::Buttons`].
pub fn append_buttons<'a>(document: &mut Document, labels: impl IntoIterator<Item = &'a str>) {
    let items: Vec<Vec<Block>> =
        labels.into_iter().map(|label| vec![Block::Paragraph(vec![Span::text(label)])]).collect();
    if !items.is_empty() {
        document.blocks.push(Block::List(List { start: Some(1), tight: true, items }));
    }
}

/// Files for a message that cannot carry them: a link to each, at the end. The caller notes [`Loss::Attachments`].
pub fn append_attachments<'a>(document: &mut Document, files: impl IntoIterator<Item = (Option<&'a str>, &'a str)>) {
    for (name, url) in files {
        let span = Span::text(name.filter(|name| !name.trim().is_empty()).unwrap_or(url));
        let span = if links::harmless(url).is_some() { span.linked(url) } else { span };
        document.blocks.push(Block::Paragraph(vec![span]));
    }
}

impl Parts {
    fn push(&mut self, rendering: Rendering) {
        self.degraded.extend(&rendering.degraded);
        if is_seen(&rendering.text) {
            self.parts.push(Part { text: rendering.text, entities: rendering.entities });
        }
    }
}

/// A block without blocks in it, and what it stands in.
#[derive(Debug, Clone)]
struct Leaf {
    path: Vec<Step>,
    block: Block,
}

/// One container of a path.
#[derive(Debug, Clone)]
enum Step {
    Quote { id: usize, expandable: bool },
    Item { list: usize, item: usize, number: Option<u64>, tight: bool },
    Note { id: usize, label: String },
}

impl Step {
    fn is_same_container(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quote { id: one, .. }, Self::Quote { id: other, .. })
            | (Self::Note { id: one, .. }, Self::Note { id: other, .. })
            | (Self::Item { list: one, .. }, Self::Item { list: other, .. }) => one == other,
            _ => false,
        }
    }
}

fn collect(blocks: Vec<Block>, path: &mut Vec<Step>, next_id: &mut usize, leaves: &mut Vec<Leaf>) {
    if blocks.is_empty() && !path.is_empty() {
        // An empty item has a bullet all the same.
        leaves.push(Leaf { path: path.clone(), block: Block::Paragraph(Vec::new()) });
    }
    for block in blocks {
        *next_id += 1;
        let id = *next_id;
        match block {
            Block::Quote { expandable, blocks } => {
                path.push(Step::Quote { id, expandable });
                collect(blocks, path, next_id, leaves);
                path.pop();
            }
            Block::Note { label, blocks } => {
                path.push(Step::Note { id, label });
                collect(blocks, path, next_id, leaves);
                path.pop();
            }
            Block::List(list) => {
                for (nth, item) in (0u64..).zip(list.items) {
                    *next_id += 1;
                    let number = list.start.map(|start| start.saturating_add(nth));
                    path.push(Step::Item { list: id, item: *next_id, number, tight: list.tight });
                    collect(item, path, next_id, leaves);
                    path.pop();
                }
            }
            leaf => leaves.push(Leaf { path: path.clone(), block: leaf }),
        }
    }
}

/// Puts leaves together that share the first `depth` steps.
fn assemble(leaves: &[Leaf], depth: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = leaves;
    while let Some(first) = rest.first() {
        let Some(step) = first.path.get(depth) else {
            blocks.push(first.block.clone());
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let shares = |leaf: &&Leaf| leaf.path.get(depth).is_some_and(|other| step.is_same_container(other));
        let count = rest.iter().take_while(shares).count().max(1);
        let (inside, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = after;
        blocks.push(match step {
            Step::Quote { expandable, .. } => {
                Block::Quote { expandable: *expandable, blocks: assemble(inside, depth + 1) }
            }
            Step::Note { label, .. } => Block::Note { label: label.clone(), blocks: assemble(inside, depth + 1) },
            Step::Item { number, tight, .. } => {
                let items = inside.chunk_by(|one, other| item_of(one, depth) == item_of(other, depth));
                let items = items.map(|item| assemble(item, depth + 1)).collect();
                Block::List(List { start: *number, tight: *tight, items })
            }
        });
    }
    blocks
}

fn item_of(leaf: &Leaf, depth: usize) -> Option<usize> {
    match leaf.path.get(depth) {
        Some(Step::Item { item, .. }) => Some(*item),
        _ => None,
    }
}

/// What a rendering takes of a message.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    text: usize,
    entities: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self { text: self.text + other.text, entities: self.entities + other.entities }
    }
}

struct Splitter<'a> {
    rules: &'a ChannelRules,
    parts: Parts,
    /// What the message that is being filled holds.
    leaves: Vec<Leaf>,
    used: Size,
}

impl Splitter<'_> {
    fn add(&mut self, leaf: Leaf) {
        let size = self.size(&leaf);
        let between = if self.leaves.is_empty() { Size::default() } else { between(&leaf) };
        if self.fits(self.used.plus(between).plus(size)) {
            self.used = self.used.plus(between).plus(size);
            self.leaves.push(leaf);
        } else if self.fits(size) {
            let heading = self.take_last_heading(size, &leaf);
            self.flush();
            if let Some(heading) = heading {
                self.used = self.size(&heading).plus(between);
                self.leaves.push(heading);
            }
            self.used = self.used.plus(size);
            self.leaves.push(leaf);
        } else {
            self.add_in_pieces(leaf, self.used.plus(between));
        }
    }

    /// A heading must not be the last of its message, if it is not all of it.
    fn take_last_heading(&mut self, next: Size, leaf: &Leaf) -> Option<Leaf> {
        let is_heading = |leaf: &Leaf| match &leaf.block {
            Block::Heading { .. } => true,
            // What a heading is where there are none.
            Block::Paragraph(row) => !row.is_empty() && row.iter().all(|span| span.style.has(Style::BOLD)),
            _ => false,
        };
        let heading = self.leaves.last().filter(|last| self.leaves.len() > 1 && is_heading(last))?;
        let both = self.size(heading).plus(between(leaf)).plus(next);
        self.fits(both).then(|| self.leaves.pop()).flatten()
    }

    fn add_in_pieces(&mut self, leaf: Leaf, used: Size) {
        let mut rest = match Rest::of(leaf) {
            Ok(rest) => rest,
            Err(leaf) => return self.add_simpler(leaf),
        };
        let whole = Size { text: self.rules.max_text, entities: self.rules.max_entities };
        let room =
            Size { text: whole.text.saturating_sub(used.text), entities: whole.entities.saturating_sub(used.entities) };
        // What is left in the message at hand is used when it is a good part of one.
        if !self.leaves.is_empty() && room.text > whole.text / 4 && room.entities > 0 {
            let cutter = Cutter { rules: self.rules, room, only_well: true };
            if let Some(at) = cutter.place(&rest) {
                self.leaves.push(rest.take(at));
            }
        }
        self.flush();
        let cutter = Cutter { rules: self.rules, room: whole, only_well: false };
        while !rest.is_empty() {
            // Rendering all that is left for each message would take its square.
            if rest.is_shorter_than(cutter.window_length()) {
                let last = rest.all();
                let size = self.size(&last);
                if self.fits(size) {
                    self.used = size;
                    self.leaves.push(last);
                    return;
                }
            }
            match cutter.place(&rest) {
                Some(at) => {
                    self.leaves.push(rest.take(at));
                    self.flush();
                }
                None => {
                    let stretch = rest.take(rest.first_stretch());
                    self.add_simpler(stretch);
                    self.flush();
                }
            }
        }
    }

    fn add_simpler(&mut self, leaf: Leaf) {
        for smaller in self.simpler(leaf) {
            self.add(smaller);
        }
    }

    /// What does not fit although nothing more can be cut from it, with less around it. Ends: each step takes something away,
    /// and the last one leaves pieces that fit.
    fn simpler(&mut self, mut leaf: Leaf) -> Vec<Leaf> {
        if !leaf.path.is_empty() {
            self.parts.degraded.note(Loss::NestedLists);
            leaf.path.clear();
            return vec![leaf];
        }
        match leaf.block {
            Block::Code { language, text } => {
                self.parts.degraded.note(Loss::Styles);
                let block = if language.is_empty() {
                    Block::Paragraph(vec![Span::text(text)])
                } else {
                    Block::Code { language: String::new(), text }
                };
                vec![Leaf { path: Vec::new(), block }]
            }
            Block::Paragraph(row) | Block::Heading { content: row, .. } => {
                let linked = row.iter().find_map(|span| span.link.clone());
                if let Some(link) = linked {
                    self.parts.degraded.note(Loss::Links);
                    let label = spans::visible(&row);
                    let mut bare: Vec<Span> = row.into_iter().map(|span| Span { link: None, ..span }).collect();
                    if let Some(shown) = links::worth_showing(&link, &label) {
                        bare.push(Span::text(format!(" ({shown})")));
                    }
                    return vec![Leaf { path: Vec::new(), block: Block::Paragraph(bare) }];
                }
                self.parts.degraded.note(Loss::Styles);
                if row.iter().any(|span| !span.style.is_none()) {
                    let bare = row.into_iter().map(|span| Span { style: Style::NONE, ..span }).collect();
                    return vec![Leaf { path: Vec::new(), block: Block::Paragraph(bare) }];
                }
                // One grapheme, longer than a message. An escape doubles a sign at worst.
                let visible = spans::visible(&row);
                let signs: Vec<char> = visible.chars().collect();
                let length = (self.rules.max_text / 8).max(1);
                if signs.len() <= length {
                    // Nothing is left to be taken away: better too long than lost.
                    self.flush();
                    self.leaves.push(Leaf { path: Vec::new(), block: Block::Paragraph(row) });
                    return Vec::new();
                }
                let pieces = signs.chunks(length);
                pieces
                    .map(|piece| Leaf {
                        path: Vec::new(),
                        block: Block::Paragraph(vec![Span::text(piece.iter().collect::<String>())]),
                    })
                    .collect()
            }
            Block::Table(table) => {
                self.parts.degraded.note(Loss::Tables);
                let rows = std::iter::once(&table.head).chain(&table.rows);
                rows.map(|cells| {
                    let mut row: Vec<Span> = Vec::new();
                    for (nth, cell) in cells.iter().enumerate() {
                        if nth > 0 {
                            row.push(Span::text(" | "));
                        }
                        row.extend(cell.iter().cloned());
                    }
                    Leaf { path: Vec::new(), block: Block::Paragraph(row) }
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    fn flush(&mut self) {
        self.used = Size::default();
        let mut leaves = std::mem::take(&mut self.leaves);
        // Sizes are added up generously; should that ever be wrong, the message is made shorter, and what is left over follows.
        let mut left_over = Vec::new();
        while !leaves.is_empty() {
            let rendering = render_adapted(&Document { blocks: assemble(&leaves, 0) }, self.rules.markup);
            if self.rules.takes(&rendering.text, &rendering.entities) || leaves.len() == 1 {
                self.parts.push(rendering);
                left_over.reverse();
                leaves = std::mem::take(&mut left_over);
            } else if let Some(last) = leaves.pop() {
                left_over.push(last);
            }
        }
    }

    fn fits(&self, size: Size) -> bool {
        size.text <= self.rules.max_text && size.entities <= self.rules.max_entities
    }

    fn size(&self, leaf: &Leaf) -> Size {
        size(leaf, self.rules)
    }
}

/// What a leaf takes when it stands alone.
fn size(leaf: &Leaf, rules: &ChannelRules) -> Size {
    let rendering = render_adapted(&Document { blocks: assemble(std::slice::from_ref(leaf), 0) }, rules.markup);
    Size { text: rules.unit.length(&rendering.text), entities: rendering.entities.len() }
}

/// What may stand before a leaf when it does not: two line ends, each with what lines of its path begin with.
fn between(leaf: &Leaf) -> Size {
    Size { text: 2 * (1 + 4 * leaf.path.len()), entities: 0 }
}

/// What is left of a leaf that is cut. Taking from its front costs what is taken, not what is left.
struct Rest {
    path: Vec<Step>,
    form: Form,
    row: VecDeque<Span>,
    text: String,
    /// How much of `text` is taken.
    taken: usize,
}

enum Form {
    Paragraph,
    Heading(u8),
    Code(String),
}

impl Rest {
    /// The leaf itself when it cannot be cut.
    fn of(leaf: Leaf) -> Result<Self, Leaf> {
        let of = |path, form, row: Vec<Span>, text| Ok(Self { path, form, row: row.into(), text, taken: 0 });
        match leaf.block {
            Block::Paragraph(row) => of(leaf.path, Form::Paragraph, row, String::new()),
            Block::Heading { level, content } => of(leaf.path, Form::Heading(level), content, String::new()),
            Block::Code { language, text } => of(leaf.path, Form::Code(language), Vec::new(), text),
            block => Err(Leaf { path: leaf.path, block }),
        }
    }

    fn left(&self) -> &str {
        self.text.get(self.taken..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.row.is_empty() && self.left().is_empty()
    }

    fn is_shorter_than(&self, bytes: usize) -> bool {
        let mut left = bytes;
        self.left().len() < bytes
            && self.row.iter().all(|span| {
                let length = span.visible().len();
                let fits = length < left;
                left = left.saturating_sub(length);
                fits
            })
    }

    fn leaf(&self, row: Vec<Span>, text: &str) -> Leaf {
        let block = match &self.form {
            Form::Paragraph => Block::Paragraph(row),
            Form::Heading(level) => Block::Heading { level: *level, content: row },
            Form::Code(language) => Block::Code { language: language.clone(), text: text.to_owned() },
        };
        Leaf { path: self.path.clone(), block }
    }

    fn all(&mut self) -> Leaf {
        let row = spans::regular(self.row.iter().cloned().collect());
        self.leaf(row, self.left())
    }

    /// The first spans or signs, no more than some bytes and some changes of looks.
    fn window(&self, bytes: usize, changes: usize) -> (Vec<Span>, &str) {
        let mut out: Vec<Span> = Vec::new();
        let mut left = bytes;
        let mut changes_left = changes;
        for span in &self.row {
            let is_change = out.last().is_some_and(|last| {
                !last.is_break()
                    && !span.is_break()
                    && (last.style != span.style || !spans::same_link(last.link.as_ref(), span.link.as_ref()))
            });
            if is_change && changes_left == 0 {
                break;
            }
            changes_left -= usize::from(is_change);
            let length = span.visible().len();
            if length <= left {
                out.push(span.clone());
                left -= length;
                continue;
            }
            if let Piece::Text(text) = &span.piece {
                let piece = Piece::Text(prefix_of(text, left).to_owned());
                out.push(Span { piece, style: span.style, link: span.link.clone() });
            }
            break;
        }
        (out, prefix_of(self.left(), bytes))
    }

    /// Takes so many bytes of what is seen, and the white space or line end after it.
    fn take(&mut self, at: usize) -> Leaf {
        if matches!(self.form, Form::Code(_)) {
            let head = self.left().get(..at).unwrap_or(self.left()).to_owned();
            self.taken += head.len();
            return self.leaf(Vec::new(), head.strip_suffix('\n').unwrap_or(&head));
        }
        let mut head = Vec::new();
        let mut left = at;
        while left > 0
            && let Some(mut span) = self.row.pop_front()
        {
            let length = span.visible().len();
            if let (true, Piece::Text(text)) = (length > left, &mut span.piece) {
                let tail = text.split_off(text.floor_char_boundary(left));
                self.row.push_front(Span { piece: Piece::Text(tail), style: span.style, link: span.link.clone() });
            }
            left = left.saturating_sub(length);
            head.push(span);
        }
        self.skip_blanks();
        self.leaf(spans::regular(head), "")
    }

    fn skip_blanks(&mut self) {
        while let Some(first) = self.row.front_mut() {
            match &mut first.piece {
                Piece::Break | Piece::SoftBreak => {}
                Piece::Text(text) if !first.style.has(Style::CODE) => {
                    *text = text.trim_start().to_owned();
                    if !text.is_empty() {
                        return;
                    }
                }
                _ => return,
            }
            self.row.pop_front();
        }
    }

    /// How long what stands first is, as far as it looks the same: that gives up what surrounds it.
    fn first_stretch(&self) -> usize {
        if matches!(self.form, Form::Code(_)) {
            return self.left().find('\n').map_or(self.left().len(), |end| end + 1);
        }
        let Some(first) = self.row.front() else { return 0 };
        let same = self
            .row
            .iter()
            .take_while(|span| span.link.is_some() && spans::same_link(span.link.as_ref(), first.link.as_ref()));
        same.map(|span| span.visible().len()).sum::<usize>().max(first.visible().len())
    }
}

/// Finds the place to cut at, so that the first piece fits into some room.
struct Cutter<'a> {
    rules: &'a ChannelRules,
    room: Size,
    /// Only at the end of a sentence or of a line.
    only_well: bool,
}

impl Cutter<'_> {
    /// How many bytes of what is seen to take; `None` when not even one grapheme fits.
    fn place(&self, rest: &Rest) -> Option<usize> {
        let (row, text) = rest.window(self.window_length(), self.window_changes());
        if matches!(rest.form, Form::Code(_)) {
            let head_of = |at: usize| text.get(..at).map_or(text, |head| head.strip_suffix('\n').unwrap_or(head));
            let fits = |at: usize| self.has_room(&rest.leaf(Vec::new(), head_of(at)));
            return self.best(text, &[], &fits, true);
        }
        let visible = spans::visible(&row);
        let fits = |at: usize| self.has_room(&rest.leaf(spans::regular(spans::cut(&row, at)), ""));
        self.best(&visible, &unsplit(&row), &fits, false)
    }

    fn has_room(&self, leaf: &Leaf) -> bool {
        let size = size(leaf, self.rules);
        size.text <= self.room.text && size.entities <= self.room.entities
    }

    /// What can be looked at: no more than can fit, and a little beyond to see where words end.
    fn window_length(&self) -> usize {
        self.room.text.saturating_mul(4).saturating_add(LOOK_AHEAD)
    }

    /// Each change of looks begins or ends an entity: so many hold more entities than there is room for.
    fn window_changes(&self) -> usize {
        self.room.entities.saturating_mul(2).saturating_add(2)
    }

    /// The best place to cut at: the last one that fits, of the best kind that does not leave the message nearly empty.
    fn best(
        &self,
        visible: &str,
        whole: &[(usize, usize)],
        fits: &dyn Fn(usize) -> bool,
        is_code: bool,
    ) -> Option<usize> {
        let reach = self.rules.unit.prefix(visible, self.room.text);
        let says_something =
            |at: &usize| *at > 0 && *at <= reach && visible.get(..*at).is_some_and(|head| !head.trim().is_empty());
        let is_free = |at: &usize| !whole.iter().any(|(start, end)| start < at && at < end);
        let starts = |indices: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
            let mut places: Vec<usize> = indices.take_while(|at| *at <= reach).filter(says_something).collect();
            if reach == visible.len() && reach > 0 && says_something(&reach) {
                places.push(reach);
            }
            places
        };
        let lines = || starts(&mut visible.match_indices('\n').map(|(at, _)| at + 1));
        let sentences = || starts(&mut visible.split_sentence_bound_indices().map(|(at, _)| at));
        let words = || starts(&mut visible.split_word_bound_indices().map(|(at, _)| at));
        let graphemes = || starts(&mut visible.grapheme_indices(true).map(|(at, _)| at));

        let well = if is_code { lines() } else { sentences().into_iter().filter(is_free).collect() };
        let found = last_that_fits(&well, fits);
        if self.only_well {
            return found;
        }
        if let Some(at) = found.filter(|at| *at >= reach / 4) {
            return Some(at);
        }
        let words: Vec<usize> =
            words().into_iter().filter(is_free).filter(|at| !starts_with_mark(visible, *at)).collect();
        last_that_fits(&words, fits).or(found).or_else(|| last_that_fits(&graphemes(), fits))
    }
}

/// The last of ascending places that fits, when all before it do.
fn last_that_fits(places: &[usize], fits: &dyn Fn(usize) -> bool) -> Option<usize> {
    let count = places.partition_point(|at| fits(*at));
    count.checked_sub(1).and_then(|last| places.get(last)).copied()
}

/// A comma or a full stop stays with the word before it.
fn starts_with_mark(text: &str, at: usize) -> bool {
    text.get(at..)
        .and_then(|rest| rest.chars().next())
        .is_some_and(|sign| sign.is_ascii_punctuation() && !"([{<\"'`#@*_~|\\-".contains(sign))
}

fn prefix_of(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes.min(text.len()));
    text.get(..end).unwrap_or(text)
}

/// What must not be cut as long as there is another place: mentions, pictures, addresses.
fn unsplit(row: &[Span]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    for span in row {
        let visible = span.visible();
        match &span.piece {
            Piece::Text(text) => {
                found.extend(
                    links::find(text).map(|address| (at + address.start, at + address.start + address.text.len())),
                );
            }
            Piece::Break | Piece::SoftBreak => {}
            _ => found.push((at, at + visible.len())),
        }
        at += visible.len();
    }
    found
}
