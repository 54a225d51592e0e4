//! What `frontdesk decode` and `render` promise, for every kind and whatever comes: the fuzz target `insight`, run for some seconds over
//! seeds that are cut, joined and bent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use std::time::{Duration, Instant};

use frontdesk::registry;
use frontdesk_model::{Raw, Wanted};
use serde_json::{Value, json};

/// What each platform sends, short and with most of its fields, and answers.
fn seeds() -> Vec<Vec<u8>> {
    let mail = "From: =?utf-8?q?Ad=C3=A4?= <a@b.example>\r\nTo: c@d.example\r\nMessage-ID: <1@x>\r\nReferences: <0@x>\r\n\
                Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n\
                <p>Hi <b>you</b></p><blockquote>On x wrote:<script>x</script></blockquote>\r\n--b\r\n\
                Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n";
    let update = json!({"update_id": 1, "message": {
        "message_id": 7, "date": 1, "chat": {"id": -5, "title": "g"}, "from": {"id": 3, "is_bot": false, "first_name": "A"},
        "text": "👍 a\nb <b> **c** `d`", "entities": [
            {"type": "bold", "offset": 0, "length": 4}, {"type": "pre", "offset": 3, "length": 3, "language": "rs"},
            {"type": "text_link", "offset": 5, "length": 9, "url": "https://x.example"},
            {"type": "expandable_blockquote", "offset": 1, "length": 8},
            {"type": "custom_emoji", "offset": 0, "length": 2, "custom_emoji_id": "5"}
        ]
    }});
    let frame = json!({"op": 0, "t": "MESSAGE_CREATE", "d": {
        "id": "7", "channel_id": "5", "type": 0, "timestamp": "2026-01-05T10:00:00Z", "author": {"id": "3", "username": "a"},
        "content": "# a\n> **b** ||c|| `d` <@3> <a:b:1> <t:1:R>\n- e\n```rs\nf\n``` [g](https://x.example)",
        "mentions": [{"id": "3", "username": "a"}], "attachments": [{"id": "1", "filename": "a.png", "size": 3}]
    }});
    let body =
        json!({"id": "7", "from": {"id": "u", "email": "a@b.example"}, "markdown": "**a** | b\n\n|a|\n|-|\n|b|"});
    let answer = json!({
        "markdown": "# a\n\n- **b** ||c||\n\n> d `e` <script> @everyone <@3> [f](javascript:x) ![g](https://x.example/g)\n\n|h|\n|-|\n|i|\n",
        "buttons": [{"id": "j", "label": "k"}], "attachments": [{"url": "https://x.example/l", "name": "m"}], "reply_to": "9"
    });
    let long = json!({"text": "é👩‍👩‍👧 word @here ".repeat(700)});
    let documents = [update, frame, body, json!({"id": "1", "text": "see www.x.example"}), answer, long];
    let mut seeds: Vec<Vec<u8>> = documents.iter().map(|document| document.to_string().into_bytes()).collect();
    seeds.push(mail.as_bytes().to_vec());
    seeds
}

/// Numbers that look thrown, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }
}

const BITS: [&str; 18] = [
    "**",
    "||",
    "`",
    "```\\n",
    "> ",
    "\\n",
    "<b>",
    "<script>",
    "\u{1f44d}",
    "\u{202e}",
    "e\u{301}",
    "@everyone",
    "<@1>",
    "[a](",
    "-1",
    "null",
    "=?utf-8?b?",
    "99999999999",
];

fn bent(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..dice.roll(6) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(4) {
            0 => drop(bytes.splice(at..at, BITS[dice.roll(BITS.len())].bytes())),
            1 => {
                let end = (at + dice.roll(12)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            2 if at < bytes.len() => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
            _ => {
                let other = &seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len());
                let piece = other[from..(from + dice.roll(30)).min(other.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    bytes
}

/// What each platform takes of one message, as its documentation says.
fn assert_taken(request: &Value) {
    if let Some(text) = request.pointer("/params/text") {
        let units = text.as_str().unwrap().encode_utf16().count();
        assert!((1..=4096).contains(&units), "{units} units");
        let entities = request.pointer("/params/entities").and_then(Value::as_array).cloned().unwrap_or_default();
        assert!(entities.len() <= 100);
        for entity in entities {
            let number = |name: &str| usize::try_from(entity[name].as_u64().unwrap()).unwrap();
            assert!(number("length") > 0 && number("offset") + number("length") <= units, "{entity}");
        }
    }
    if let Some(content) = request.pointer("/body/content") {
        let content = content.as_str().unwrap();
        assert!((1..=2000).contains(&content.chars().count()));
        assert!(!content.contains("@everyone") && !content.contains("@here"), "{content}");
        assert_eq!(request["body"]["allowed_mentions"], json!({"parse": []}));
    }
    for html in [request.get("html"), request.pointer("/body/data/message/html")].into_iter().flatten() {
        let html = html.as_str().unwrap().to_lowercase();
        assert!(!html.contains("<script") && !html.contains("href=\"javascript:"), "{html}");
    }
}

#[test]
fn whatever_comes_is_decoded_or_refused_and_whatever_is_rendered_is_taken() {
    let seeds = seeds();
    let mut dice = Dice(0x2026_1123);
    let (mut rounds, mut taken, mut refused, mut sent) = (0, 0, 0, 0);
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until || rounds < 50 {
        rounds += 1;
        let raw = Raw::Bytes(bent(&seeds, &mut dice));
        let wanted = raw.json().ok().and_then(|input| Wanted::read(&input).ok());
        for kind in registry::insights() {
            match kind.decode(&raw) {
                Ok(decoded) => {
                    taken += 1;
                    assert_eq!(decoded.kind, kind.name());
                    assert_eq!(decoded.reason.is_some(), decoded.what == "ignored");
                    let html = decoded.html.unwrap_or_default().to_lowercase();
                    assert!(!html.contains("<script") && !html.contains("href=\"javascript:"), "{html}");
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.code.is_empty() && !error.message.is_empty());
                }
            }
            for request in wanted.iter().flat_map(|wanted| kind.render(wanted).requests) {
                sent += 1;
                assert_taken(&request);
            }
        }
    }
    assert!(taken > 20 && refused > 20 && sent > 20, "{rounds} rounds: {taken} taken, {refused} refused, {sent} sent");
}

#[test]
fn each_seed_is_decoded_by_the_kind_that_it_is_of() {
    let seeds = seeds();
    for (kind, seed) in [("telegram", 0), ("discord", 1), ("webhook", 2), ("webchat", 3), ("email", 6)] {
        let insight = registry::insights().iter().find(|insight| insight.name() == kind).unwrap();
        let decoded = insight.decode(&Raw::Bytes(seeds[seed].clone())).unwrap();
        assert_eq!(decoded.what, "message.created");
        assert!(decoded.markdown.is_some_and(|markdown| !markdown.is_empty()), "{kind}");
    }
}
