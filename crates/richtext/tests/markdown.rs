//! Markdown, read as it is meant.
#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use frontdesk_richtext::{HtmlRules, read, write};

fn seen(source: &str) -> String {
    write::html(&read::markdown(source), HtmlRules::CANONICAL).text
}

#[test]
fn a_link_that_says_nothing_shows_where_it_leads() {
    let link = |label: &str| format!("<p><a href=\"https://a.example/\">{label}</a></p>");
    assert_eq!(seen("[](https://a.example/)"), link("https://a.example/"));
    assert_eq!(seen("![](https://a.example/)"), link("https://a.example/"));
    assert_eq!(seen("[![](https://b.example/p.gif)](https://a.example/)"), link("https://b.example/p.gif"));
    assert_eq!(seen("![a](https://a.example/)![b](https://a.example/)"), link("ab"));
    assert_eq!(seen("[]()"), "");
}

#[test]
fn bars_hide_what_they_touch() {
    assert_eq!(seen("a ||b c|| d"), "<p>a <span class=\"spoiler\">b c</span> d</p>");
    assert_eq!(seen("||**b**||"), "<p><span class=\"spoiler\"><b>b</b></span></p>");
    for text in ["a || b || c", "a || b", "x ||", "|| x ||", "a ||b || c"] {
        assert_eq!(seen(text), format!("<p>{text}</p>"));
    }
}

#[test]
fn discord_keeps_styles_in_quotes_of_several_lines_and_in_links_with_brackets() {
    let discord = |source: &str| {
        let written = write::discord(&read::markdown(source));
        assert!(written.degraded.is_empty(), "{source}: {:?}", written.degraded);
        written.text
    };
    assert_eq!(discord("> **bold** text\n> two ||sp||"), "> **bold** text\n> two ||sp||");
    assert_eq!(discord("**a**<br><br>b *c*"), "**a**\n\nb *c*");
    assert_eq!(discord("> a  \n> - **b**\n>   *c*"), "> a\n> \n> - **b**\n>   *c*");
    assert_eq!(discord("[**a**](https://e.com/(x))"), "[**a**](https://e.com/%28x%29)");
    assert_eq!(discord("*[a](https://e.com/@here)*"), "[*a*](https://e.com/%40here)");
}

#[test]
fn t40_white_space_before_a_sign_does_not_bring_it_to_life() {
    let text = |source: &str| write::discord(&read::plain(source)).text;
    for blank in ["\t", "\u{a0}", "\u{3000}", " \t "] {
        for (block, escaped) in
            [("# h", "\\# h"), ("- i", "\\- i"), ("-# s", "\\-# s"), (">>> q", "\\>>> q"), ("1. n", "1\\. n")]
        {
            assert_eq!(text(&format!("{blank}{block}")), escaped);
        }
    }
    assert_eq!(write::discord(&read::markdown("&nbsp;# x")).text, "\\# x");
    assert_eq!(text("http://b<#3> steam://x<t:5:R>"), "<http://b>\\<#3> <steam://x>\\<t:5:R>");
    assert_eq!(text("see (https://e.com)-ish"), "see (<https://e.com>)-ish");
    assert_eq!(text("one\rtwo\u{2028}three"), "one\ntwo\nthree");
}
