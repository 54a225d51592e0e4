//! HTML of e-mails: read as it is seen, and nothing in it can do harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use frontdesk_richtext::{HtmlRules, read, write};

fn seen(source: &str) -> String {
    write::html(&read::html(source), HtmlRules::CANONICAL).text
}

#[test]
fn is_read_as_it_is_seen() {
    for (source, html) in [
        (
            "<p>Hi <strong>a</strong> <em>b</em></p><p>x<br>y<br><br>z</p>",
            "<p>Hi <b>a</b> <i>b</i></p><p>x<br>y</p><p>z</p>",
        ),
        ("<div>a</div>\n  <div>b  c\n d</div>", "<p>a</p><p>b c d</p>"),
        (
            "<ul><li>a<ul><li>b</li></ul></li><li><p>c</p><p>d</p></li></ul>",
            "<ul><li><p>a</p><ul><li>b</li></ul></li><li><p>c</p><p>d</p></li></ul>",
        ),
        ("<ol><li>a<li>b</ol>after", "<ol><li>a</li><li>b</li></ol><p>after</p>"),
        (
            "<blockquote>q<blockquote>r</blockquote></blockquote>",
            "<blockquote><p>q</p><blockquote><p>r</p></blockquote></blockquote>",
        ),
        ("<pre>a\n  b &lt;x&gt;</pre>", "<pre>a\n  b &lt;x&gt;</pre>"),
        ("<table><tr><td>left</td><td>right</td></tr><tr><td>below</td></tr></table>", "<p>left right</p><p>below</p>"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "<pre>a | b\n--+--\n1 | 2</pre>"),
        (
            "<span style='font-weight:bold; text-decoration: underline'>B</span> a&nbsp;b &amp;lt; &copy; &bogus; AT&T",
            "<p><b><u>B</u></b> a\u{a0}b &amp;lt; © &amp;bogus; AT&amp;T</p>",
        ),
        ("<h2>T</h2>text <code>c</code><hr>x", "<h2>T</h2><p>text <code>c</code></p><p>———</p><p>x</p>"),
        ("a < b & c > d", "<p>a &lt; b &amp; c &gt; d</p>"),
        (
            "<a href='https://a.example/?a=1&amp;b=2&c=3'>l</a>",
            "<p><a href=\"https://a.example/?a=1&amp;b=2&amp;c=3\">l</a></p>",
        ),
        (
            "<p>a<s>b</s><u>c</u><span class=spoiler>d</span></p>",
            "<p>a<s>b</s><u>c</u><span class=\"spoiler\">d</span></p>",
        ),
        ("<html><head><title>t</title><style>p{}</style></head><body>x</body></html>", "<p>x</p>"),
        ("<o:p>x</o:p><custom>y</custom>", "<p>xy</p>"),
        ("<img src='https://t.example/p.gif'><img src=x alt='a picture'>", "<p>a picture</p>"),
        ("<p>&nbsp;</p><p> </p>x", "<p>x</p>"),
        ("שלום <b>עולם</b>", "<p>שלום <b>עולם</b></p>"),
    ] {
        assert_eq!(seen(source), html, "{source}");
    }
}

#[test]
fn what_nobody_sees_is_not_read() {
    for hidden in [
        "<div style='display:none;max-height:0px'>pay to me</div>",
        "<p hidden>pay to me</p>",
        "<span style='DISPLAY: None !important'>pay <b>to</b> me<br></span>",
        "<div style=\"visibility:hidden\"><ul><li>pay<li>to me</ul><pre>x</pre></div>",
        "<div style='opacity:0'><table><tr><th>pay</th></tr><tr><td>me</td></tr></table></div>",
        "<table><tr><td style='mso-hide:all'>pay to me</td></tr></table>",
        "<div style='max-height: 0.0px; overflow: hidden'><div>pay</div> to me</div>",
        "<div style='display:none'><img alt='pay to me'></div>",
    ] {
        assert_eq!(
            seen(&format!("before {hidden} <i>after</i>")).replace("</p><p>", " "),
            "<p>before <i>after</i></p>"
        );
    }
    // A table behind it is the one that it was.
    let table = "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>";
    assert_eq!(seen(&format!("<div style='display:none'>{table}</div>{table}")), seen(table));
    for shown in ["display:block", "font-size:0px", "opacity:0.9", "max-height:10px", "visibility:visible", ""] {
        assert_eq!(seen(&format!("<div style='{shown}'>x</div>")), "<p>x</p>", "{shown}");
    }
    assert_eq!(seen("<details><summary>more</summary>inside</details>"), "<p>more</p><p>inside</p>");
}

#[test]
fn a_picture_in_a_link_leads_where_the_link_leads() {
    let source = "<a href='https://a.example/'><img src='https://b.example/p.gif' alt='Pic'></a> <img alt='Other'>";
    let document = read::html(source);
    assert_eq!(write::markdown(&document).text, "[Pic](https://a.example/) Other");
}

#[test]
fn t20_nothing_that_runs_is_left() {
    for hostile in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1) alt=x>",
        "<svg><script>alert(1)</script></svg>",
        "<svg/onload=alert(1)>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='java&#10;script:alert(1)'>x</a>",
        "<a href='jav&#x09;ascript:alert(1)'>x</a>",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<a href=\"https://a.example\" onclick=\"alert(1)\">x</a>",
        "<iframe src=javascript:alert(1)></iframe>",
        "<form action=javascript:alert(1)><input type=submit></form>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
        "<style>@import 'https://t.example'</style><link rel=stylesheet href=https://t.example>",
        "<p style=\"background:url(https://t.example)\">x</p>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<<script>script>alert(1)</script>",
        "<!--><script>alert(1)</script>-->",
    ] {
        let html = seen(hostile).to_lowercase();
        for bad in [
            "<script",
            "<img",
            "<svg",
            "<iframe",
            "<style",
            "<form",
            "<link",
            "javascript:",
            "data:",
            "href=\"java",
            "style=",
            "t.example",
        ] {
            assert!(!html.contains(bad), "{hostile}: {html}");
        }
        for tag in html.split('<').skip(1) {
            let name = tag.trim_start_matches('/').split(['>', ' ']).next().unwrap();
            assert!(
                ["p", "a", "b", "i", "br", "pre", "code", "span", "blockquote"].contains(&name),
                "{hostile}: {html}"
            );
            assert!(!tag.split('>').next().unwrap().contains(" on"), "{hostile}: {html}");
        }
    }
}
