//! The report of `frontdesk check`: every mistake at once, in the order of the lines.

use frontdesk::{
    check::{Form, Verdict, check},
    config::{Colour, Environment},
};

use crate::world::{Folder, Post};

const VERY_WRONG: &str = r#"# Nearly nothing in here is right.
[server]
listen = "here"
lisen = "127.0.0.1:8080"
public_url = "http://desk.example.com"

[tokens.bot]
token = "0123456789abcdef0123"
scopes = ["agnet", "ingest"]
channels = ["shpo"]

[tokens.twin]
token = "0123456789abcdef0123"

[store]
url = "mysql://127.0.0.1"
durability = "strictly"
min_free = "lots"

[agent]
protocol = "openia"
secret = { env = "NOT_THERE" }
timeout = "1 h"
history = 1000
concurrency = "many"

[channels.shop]
kind = "post"
deliver_ulr = "https://shop.example.com"
retries = -1
allowed = "all"

[channels.Other]
kind = "pots"

[attachments]
max_bytes = "25 MB"
"#;

fn report(toml: &str, vars: &[(&str, &str)], form: Form) -> (Verdict, String) {
    let folder = Folder::new(toml);
    let environment: Environment = vars.iter().copied().collect();
    let report = check(&folder.file(), &environment, &[&Post], form);
    let place = folder.path("");
    (report.verdict, report.text.replace(&*place.to_string_lossy(), ""))
}

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_lines() {
    let vars = [("FRONTDESK__SERVER__PORT", "80")];
    let (verdict, text) = report(VERY_WRONG, &vars, Form::Text(Colour::Off));
    assert_eq!(verdict, Verdict::Refused);
    insta::assert_snapshot!(text);
}

#[test]
fn the_report_for_programs_is_a_list() {
    let (verdict, text) = report("[server]\nlisen = 1\n[channels.a]\nkind = \"post\"\n", &[], Form::Json);
    assert_eq!(verdict, Verdict::Refused);
    insta::assert_snapshot!(text);
}

#[test]
fn a_level_of_logging_that_there_is_not_is_pointed_out() {
    let toml = "[agent]\nurl = \"http://127.0.0.1:8081/\"\n[channels.shop]\nkind = \"post\"\n";
    let (verdict, text) = report(toml, &[("FRONTDESK_LOG", "debgu")], Form::Text(Colour::Off));
    assert_eq!(verdict, Verdict::Fine);
    let wanted = "FRONTDESK_LOG: warning: not a level of logging, so it counts as info; did you mean debug?\n  \
                  mend: set it to one of error, warn, info, debug, trace, off\n";
    assert!(text.starts_with(wanted), "{text}");
    for level in ["error", "WARN", "info", "Debug", "trace", "off", ""] {
        assert_eq!(report(toml, &[("FRONTDESK_LOG", level)], Form::Json).1, "[]\n", "{level}");
    }
}

#[test]
fn the_mend_for_a_kind_that_there_is_not_lists_the_kinds() {
    let mend = |kind: &str| {
        let (_, text) = report(&format!("[channels.a]\nkind = \"{kind}\"\n"), &[], Form::Text(Colour::Off));
        text.lines().rev().nth(1).unwrap().to_owned()
    };
    assert_eq!(mend("pots"), "  mend: write kind = \"post\" (this build has \"post\")");
    assert_eq!(mend("telegraph"), "  mend: write kind = \"post\": this build has no other");
}

#[test]
fn a_right_configuration_is_summed_up() {
    let toml = "[agent]\nurl = \"http://127.0.0.1:8081/path?key=1\"\n[channels.shop]\nkind = \"post\"\n";
    let (verdict, text) = report(toml, &[], Form::Text(Colour::Off));
    assert_eq!(verdict, Verdict::Fine);
    insta::assert_snapshot!(text);
    assert_eq!(report(toml, &[], Form::Json), (Verdict::Fine, "[]\n".to_owned()));
}

#[test]
fn colour_only_when_it_is_asked_for() {
    let toml = "[server]\nlisen = 1\n";
    assert!(!report(toml, &[], Form::Text(Colour::Off)).1.contains('\u{1b}'));
    assert!(report(toml, &[], Form::Text(Colour::On)).1.contains("\u{1b}[31m"));
}
