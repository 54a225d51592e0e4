//! Which of a mail's lines its writer newly wrote, and which came along with the mail that they answer.
//!
//! What came along begins with the line that introduces it (`On …, … wrote:` in the languages that mail programs speak most, or the
//! header lines of the answered mail), or with the last stretch of lines with `>`. Answers between the quoted lines are the writer's.

/// What ends a line that introduces a quote.
const WROTE: &[&str] = &[
    "wrote:",
    "schrieb:",
    "écrit :",
    "écrit:",
    "escribió:",
    "escreveu:",
    "ha scritto:",
    "schreef:",
    "skrev:",
    "kirjoitti:",
    "napisał(a):",
    "napisał:",
    "napsal:",
    "написал:",
    "пишет:",
    "写道：",
    "写道:",
];
/// What begins the header lines of an answered mail.
const HEADERS: &[&str] = &["from:", "von:", "de :", "de:", "da:", "van:", "från:", "od:", "от:"];
const SECOND_HEADERS: &[&str] =
    &["sent:", "date:", "to:", "gesendet:", "datum:", "envoyé :", "enviado:", "inviato:", "verzonden:", "skickat:"];
const RULES: &[&str] =
    &["-----original message-----", "-----ursprüngliche nachricht-----", "---------- forwarded message"];
/// How many lines an introduction may take.
const INTRODUCTION: usize = 3;

/// What was newly written, and what came along.
pub(crate) fn parted(text: &str) -> (String, Option<String>) {
    let lines: Vec<&str> = text.lines().collect();
    let start = (0..lines.len()).find(|at| lines.get(*at..).is_some_and(introduces));
    let (own, along) = match start {
        Some(start) => lines.split_at(start),
        None => {
            // Quoted lines at the very end have nothing of the writer's behind them.
            let tail = lines.iter().rev().take_while(|line| is_quote(line) || line.trim().is_empty()).count();
            let quoted = lines.iter().rev().take(tail).any(is_quote);
            lines.split_at(lines.len() - if quoted { tail } else { 0 })
        }
    };
    // Who answers between the quoted lines has written below the introduction.
    let between: Vec<&str> = if start.is_some() && along.iter().any(is_quote) {
        let from = along.iter().position(is_quote).unwrap_or(along.len());
        along.iter().skip(from).filter(|line| !is_quote(line)).copied().collect()
    } else {
        Vec::new()
    };
    let mut reply = own.join("\n");
    let along = if between.iter().any(|line| !line.trim().is_empty()) {
        reply = format!("{}\n\n{}", reply.trim_end(), between.join("\n").trim());
        let first = along.iter().position(is_quote).unwrap_or(along.len());
        let came = |(at, line): &(usize, &&str)| *at < first || is_quote(line);
        along.iter().enumerate().filter(came).map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    } else {
        along.join("\n")
    };
    (reply.trim().to_owned(), Some(along.trim().to_owned()).filter(|along| !along.is_empty()))
}

fn is_quote(line: &&str) -> bool {
    line.trim_start().starts_with('>')
}

/// Whether these lines begin with an introduction.
fn introduces(lines: &[&str]) -> bool {
    let Some(first) = lines.first().map(|line| line.trim().to_lowercase()) else { return false };
    if first.is_empty() || first.starts_with('>') {
        return false;
    }
    if RULES.iter().any(|rule| first.starts_with(rule)) {
        return true;
    }
    let next = |nth: usize| lines.get(nth).map(|line| line.trim().trim_start_matches('*').to_lowercase());
    if HEADERS.iter().any(|header| first.trim_start_matches('*').starts_with(header)) {
        return (1..=2).filter_map(next).any(|line| SECOND_HEADERS.iter().any(|header| line.starts_with(header)));
    }
    // `On Mon, 5 Jan 2026 at 10:00, Ada <ada@example.com> wrote:`, which programs fold.
    let intro: Vec<&str> =
        lines.iter().take(INTRODUCTION).copied().take_while(|line| !line.trim().is_empty()).collect();
    let ends = (1..=intro.len()).find(|count| {
        let line = intro.get(count - 1).map(|line| line.trim().to_lowercase()).unwrap_or_default();
        WROTE.iter().any(|wrote| line.ends_with(wrote))
    });
    let Some(count) = ends else { return false };
    // A quote follows it, or it names a moment.
    let behind = lines.iter().skip(count).find(|line| !line.trim().is_empty());
    let quoted = behind.is_some_and(|line| line.trim_start().starts_with('>'));
    quoted || intro.iter().take(count).any(|line| line.bytes().any(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_along_is_told_from_what_was_written() {
        for (text, own, along) in [
            ("Hello\n\nBye", "Hello\n\nBye", None),
            ("Yes.\n\nOn Mon, 5 Jan 2026 at 10:00, Ada <a@b.example> wrote:\n> Is it?\n", "Yes.", Some("On Mon")),
            ("Yes.\n\nOn Mon, 5 Jan 2026 at 10:00, Ada\n<a@b.example> wrote:\n\n> Is it?", "Yes.", Some("On Mon")),
            (
                "Ja.\n\nAm 05.01.2026 um 10:00 schrieb Ada:\n> Ist es?",
                "Ja.\n\nAm 05.01.2026 um 10:00 schrieb Ada:",
                Some("> Ist es?"),
            ),
            ("Yes.\n\n> Is it?\n> Tell me.", "Yes.", Some("> Is it?")),
            ("> Is it?\nYes.\n> And that?\nNo.", "> Is it?\nYes.\n> And that?\nNo.", None),
            ("Hi\n\nOn 5 Jan, Ada wrote:\n> Is it?\nYes.\n> And that?\nNo.", "Hi\n\nYes.\nNo.", Some("On 5 Jan")),
            ("Ok\n\n-----Original Message-----\nFrom: Ada\nSent: now\n\nHi", "Ok", Some("-----Original")),
            ("Ok\n\nFrom: Ada <a@b.example>\nSent: Monday\nTo: us\n\nHi", "Ok", Some("From: Ada")),
            ("I like what he wrote:\nnothing", "I like what he wrote:\nnothing", None),
        ] {
            let (reply, quoted) = parted(text);
            assert_eq!(reply, own, "{text:?}");
            assert_eq!(quoted.is_some(), along.is_some(), "{text:?}");
            assert!(quoted.unwrap_or_default().starts_with(along.unwrap_or_default()), "{text:?}");
        }
        let (reply, quoted) = parted("On 5 Jan, Ada wrote:\n> Is it?\n\nYes, it is.");
        assert_eq!((reply.as_str(), quoted.as_deref()), ("Yes, it is.", Some("On 5 Jan, Ada wrote:\n> Is it?")));
    }
}
