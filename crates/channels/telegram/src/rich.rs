//! Rich messages (<https://core.telegram.org/bots/api#richmessage>): blocks that hold blocks and texts that hold texts, in place of one
//! text with entities. Bots write them, and people pass them on.
//!
//! What is not known is read for the texts and blocks that it holds, so that no word passes unseen. What is nested deeper than a tree may
//! be is passed over: nothing that is written by hand is. So are buttons under the text, which nobody could press here.

use frontdesk_richtext::{Block, Column, Document, Emoji, List, MAX_DEPTH, Piece, Platform, Span, Style, Table};
use serde::Deserialize as _;
use serde_json::Value;

use crate::update::{self, File};

/// What a rich message holds.
#[derive(Default)]
pub(crate) struct Rich {
    /// Its words.
    pub(crate) document: Document,
    /// Its files, each with what it usually is.
    pub(crate) files: Vec<(File, &'static str)>,
}

impl Rich {
    pub(crate) fn read(message: &Value) -> Self {
        let mut reader = Reader::default();
        let blocks = reader.blocks(message.get("blocks"), 0);
        Self { document: Document { blocks }, files: reader.files }
    }
}

#[derive(Default)]
struct Reader {
    files: Vec<(File, &'static str)>,
}

impl Reader {
    fn blocks(&mut self, blocks: Option<&Value>, depth: usize) -> Vec<Block> {
        let mut read = Vec::new();
        for block in items(blocks).iter().take_while(|_| depth < MAX_DEPTH) {
            self.block(block, depth, &mut read);
        }
        read.retain(|block| !block.is_empty());
        read
    }

    fn block(&mut self, block: &Value, depth: usize, read: &mut Vec<Block>) {
        let inner = |reader: &mut Self| reader.blocks(block.get("blocks"), depth + 1);
        match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "heading" => {
                let level = block.get("size").and_then(Value::as_u64).map_or(1, |size| size.clamp(1, 6));
                read.push(Block::Heading { level: u8::try_from(level).unwrap_or(6), content: row(block.get("text")) });
            }
            "pre" => read.push(Block::Code {
                language: string(block, "language").to_owned(),
                text: plain(block.get("text")).trim_end_matches('\n').to_owned(),
            }),
            "mathematical_expression" => {
                read.push(Block::Paragraph(spans(string(block, "expression"), Style::CODE, None)));
            }
            "divider" => read.push(Block::Rule),
            "anchor" | "buttons" => {}
            kind @ ("blockquote" | "expandable_blockquote" | "pullquote") => {
                let mut blocks = inner(self);
                blocks.push(Block::Paragraph(row(block.get("text"))));
                blocks.push(Block::Paragraph(row(block.get("credit"))));
                blocks.retain(|block| !block.is_empty());
                read.push(Block::Quote { expandable: kind == "expandable_blockquote", blocks });
            }
            "list" => read.push(Block::List(self.list(block, depth))),
            "table" => {
                read.push(Block::Paragraph(row(block.get("caption"))));
                read.push(Block::Table(table(block)));
            }
            "map" => {
                let number = |name: &str| block.pointer(&format!("/location/{name}")).map(Value::to_string);
                let place = number("latitude").zip(number("longitude"));
                read.extend(place.map(|(north, east)| Block::Paragraph(vec![Span::text(format!("{north}, {east}"))])));
                read.extend(captions(block));
            }
            "details" => {
                let summary = row(block.get("summary")).into_iter().map(|span| span.styled(Style::BOLD));
                read.push(Block::Paragraph(summary.collect()));
                read.extend(inner(self));
            }
            kind => {
                self.file(kind, block);
                read.push(Block::Paragraph(row(block.get("text"))));
                read.extend(inner(self));
                read.extend(captions(block));
            }
        }
    }

    fn file(&mut self, kind: &str, block: &Value) {
        let usual = match kind {
            "photo" => "image/jpeg",
            "video" | "animation" => "video/mp4",
            "audio" => "audio/mpeg",
            "voice_note" => "audio/ogg",
            "document" => "application/octet-stream",
            _ => return,
        };
        let file = block.get(kind);
        let found = if kind == "photo" { picture(file) } else { file.and_then(|file| File::deserialize(file).ok()) };
        self.files.extend(found.map(|file| (file, usual)));
    }

    fn list(&mut self, block: &Value, depth: usize) -> List {
        let items = items(block.get("items"));
        let start = items.first().and_then(|item| item.get("value")).and_then(Value::as_u64);
        let items = items.iter().map(|item| {
            let mut blocks = self.blocks(item.get("blocks"), depth + 1);
            let flag = |name: &str| item.get(name).and_then(Value::as_bool).unwrap_or(false);
            if flag("has_checkbox") {
                let mark = Span::text(if flag("is_checked") { "[x] " } else { "[ ] " });
                match blocks.first_mut() {
                    Some(Block::Paragraph(row)) => row.insert(0, mark),
                    _ => blocks.insert(0, Block::Paragraph(vec![mark])),
                }
            }
            blocks
        });
        List { start, tight: true, items: items.collect() }
    }
}

/// A picture in its largest size.
pub(crate) fn picture(sizes: Option<&Value>) -> Option<File> {
    update::largest(items(sizes).iter().filter_map(|size| File::deserialize(size).ok()))
}

/// Of a list its items, of anything else none.
fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn table(block: &Value) -> Table {
    let rows: Vec<&[Value]> = items(block.get("cells")).iter().map(|cells| items(Some(cells))).collect();
    let width = rows.iter().map(|cells| cells.len()).max().unwrap_or_default();
    let column = |cell: &Value| match string(cell, "align") {
        "left" => Column::Left,
        "center" => Column::Center,
        "right" => Column::Right,
        _ => Column::Unsaid,
    };
    let mut columns: Vec<Column> = rows.first().into_iter().copied().flatten().map(column).collect();
    columns.resize(width, Column::Unsaid);
    let mut rows = rows.iter().map(|cells| cells.iter().map(|cell| row(cell.get("text"))).collect());
    let mut head: Vec<Vec<Span>> = rows.next().unwrap_or_default();
    head.resize(width, Vec::new());
    Table { columns, head, rows: rows.collect() }
}

/// What stands under a picture, and whose it is.
fn captions(block: &Value) -> Vec<Block> {
    let caption = block.get("caption");
    let parts = ["text", "credit"].map(|part| Block::Paragraph(row(caption.and_then(|caption| caption.get(part)))));
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// A text: a string, some texts in a row, or a text with a type (<https://core.telegram.org/bots/api#richtext>).
fn row(text: Option<&Value>) -> Vec<Span> {
    let mut read = Vec::new();
    if let Some(text) = text {
        add(text, Style::NONE, None, 0, &mut read);
    }
    read
}

fn add(text: &Value, style: Style, link: Option<&str>, depth: usize, read: &mut Vec<Span>) {
    if depth >= MAX_DEPTH {
        return;
    }
    let mut within = |text: &Value, style: Style, link: Option<&str>| add(text, style, link, depth + 1, read);
    match text {
        Value::String(words) => read.extend(spans(words, style, link)),
        Value::Array(texts) => texts.iter().for_each(|text| within(text, style, link)),
        Value::Object(_) => {
            let kind = string(text, "type");
            let inner = text.get("text").unwrap_or(&Value::Null);
            match kind {
                "bold" => within(inner, style | Style::BOLD, link),
                "italic" => within(inner, style | Style::ITALIC, link),
                "underline" => within(inner, style | Style::UNDERLINE, link),
                "strikethrough" => within(inner, style | Style::STRIKE, link),
                "spoiler" => within(inner, style | Style::SPOILER, link),
                "code" => within(inner, style | Style::CODE, link),
                "url" => within(inner, style, Some(string(text, "url")).filter(|url| !url.is_empty())),
                "email_address" => within(inner, style, Some(&format!("mailto:{}", string(text, "email_address")))),
                "text_mention" => {
                    let user = text.pointer("/user/id").and_then(Value::as_u64);
                    within(inner, style, user.map(|user| format!("tg://user?id={user}")).as_deref());
                }
                "button" => within(text.pointer("/button/text").unwrap_or(&Value::Null), style, link),
                "mathematical_expression" => read.extend(spans(string(text, "expression"), style | Style::CODE, link)),
                "custom_emoji" => {
                    let emoji = Emoji {
                        platform: Platform::Telegram,
                        id: string(text, "custom_emoji_id").to_owned(),
                        text: string(text, "alternative_text").to_owned(),
                        animated: false,
                    };
                    read.push(Span { piece: Piece::Emoji(emoji), style, link: link.map(Into::into) });
                }
                _ => within(inner, style, link),
            }
        }
        _ => {}
    }
}

/// Words, a break between lines.
fn spans(words: &str, style: Style, link: Option<&str>) -> Vec<Span> {
    let mut spans = Vec::new();
    for (nth, line) in words.split('\n').enumerate() {
        if nth > 0 {
            spans.push(Span::of(Piece::Break));
        }
        if !line.is_empty() {
            spans.push(Span { piece: Piece::Text(line.to_owned()), style, link: link.map(Into::into) });
        }
    }
    spans
}

fn plain(text: Option<&Value>) -> String {
    row(text).iter().map(|span| span.visible().into_owned()).collect()
}

fn string<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}
