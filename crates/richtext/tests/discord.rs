//! Discord's dialect as its client reads it, and nothing that could ping or forge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use frontdesk_richtext::{Document, HtmlRules, Mentioned, Piece, Span, Style, read, write};

/// Written on Discord, and what is seen there.
const READ: &[(&str, &str)] = &[
    (
        "*a* _b_ __c__ **d** ~~f~~ ||g|| `h`",
        "<p><i>a</i> <i>b</i> <u>c</u> <b>d</b> <s>f</s> <span class=\"spoiler\">g</span> <code>h</code></p>",
    ),
    ("***e*** ___f___ **_g_**", "<p><b><i>e</i></b> <i><u>f</u></i> <b><i>g</i></b></p>"),
    ("**a *b* c** *a **b** c*", "<p><b>a <i>b</i> c</b> <i>a <b>b</b> c</i></p>"),
    ("a_b_c snake_case __init__ x*y*z", "<p>a_b_c snake_case <u>init</u> x<i>y</i>z</p>"),
    ("no * 2 * 3 * 4 **unclosed", "<p>no * 2 * 3 * 4 **unclosed</p>"),
    ("\\*no\\* \\_ \\a \\\\", "<p>*no* _ \\a \\</p>"),
    ("¯\\_(ツ)_/¯", "<p>¯\\_(ツ)_/¯</p>"),
    ("``i`j`` `` ` `` `a``b`", "<p><code>i`j</code> <code>`</code> <code>a``b</code></p>"),
    ("**bold\nline**", "<p><b>bold<br>line</b></p>"),
    ("a\nb\n\nc", "<p>a<br>b</p><p>c</p>"),
    ("# H\n## H2 ##\n### *H3*\n#### no\ntext", "<h1>H</h1><h2>H2</h2><h3><i>H3</i></h3><p>#### no<br>text</p>"),
    ("#no\nno # no", "<p>#no<br>no # no</p>"),
    ("-# small *x*\nnext", "<p>small <i>x</i></p><p>next</p>"),
    ("> q\n> **r**\nnot", "<blockquote><p>q<br><b>r</b></p></blockquote><p>not</p>"),
    (">no\na > b", "<p>&gt;no<br>a &gt; b</p>"),
    ("x\n>>> all\n\nof it\n- and", "<p>x</p><blockquote><p>all</p><p>of it</p><ul><li>and</li></ul></blockquote>"),
    ("> ```\n> code\n> ```", "<blockquote><pre>code</pre></blockquote>"),
    (
        "- a\n- b\n  - c\n    - d\n- e\n\nend",
        "<ul><li>a</li><li>b<ul><li>c<ul><li>d</li></ul></li></ul></li><li>e</li></ul><p>end</p>",
    ),
    ("* a\n * b", "<ul><li>a<ul><li>b</li></ul></li></ul>"),
    ("1. x\n2. y\n   more", "<ol><li>x</li><li>y<br>more</li></ol>"),
    ("text\n- after", "<p>text</p><ul><li>after</li></ul>"),
    ("-no\n1.no\n- ", "<p>-no<br>1.no<br>-</p>"),
    ("```js\nlet a;\n```after", "<pre>let a;</pre><p>after</p>"),
    ("x ```in *line*``` y", "<p>x</p><pre>in *line*</pre><p> y</p>"),
    ("```js```", "<pre>js</pre>"),
    ("```\n\n  a\n\n```", "<pre>  a</pre>"),
    ("```unclosed\nx", "<p>```unclosed<br>x</p>"),
    (
        "||sp ```js\ncode\n``` x||",
        "<p><span class=\"spoiler\">sp</span></p><pre>code</pre><p><span class=\"spoiler\"> x</span></p>",
    ),
    ("<@1> <@!2> <@&3> <#4> </say hi:5>", "<p>@1 @2 @3 #4 /say hi</p>"),
    ("<:one:1> <a:two:2> <:bad> <@x>", "<p>:one: :two: &lt;:bad&gt; &lt;@x&gt;</p>"),
    (
        "<t:0> <t:86399:T> <t:-1:d> <t:1700000000:R> <t:x>",
        "<p>1970-01-01 00:00 UTC 23:59:59 UTC 1969-12-31 2023-11-14 22:13 UTC &lt;t:x&gt;</p>",
    ),
    (
        "[m](https://x.example) [n](<https://y.example>) [t](https://z.example 'ti')",
        "<p><a href=\"https://x.example\">m</a> <a href=\"https://y.example\">n</a> <a href=\"https://z.example\">t</a></p>",
    ),
    (
        "[**b**](https://x.example/a_(b)) [no](javascript:x) [no](/rel)",
        "<p><a href=\"https://x.example/a_(b)\"><b>b</b></a> [no](javascript:x) [no](/rel)</p>",
    ),
    (
        "[https://good.example](https://evil.example)",
        "<p>[<a href=\"https://good.example](https://evil.example)\">https://good.example](https://evil.example)</a></p>",
    ),
    (
        "https://b.example/x_y_z*. <https://s.example/_a_>",
        "<p><a href=\"https://b.example/x_y_z*\">https://b.example/x_y_z*</a>. <a href=\"https://s.example/_a_\">https://s.example/_a_</a></p>",
    ),
    (
        "(https://c.example/(d)) \"https://e.example\"",
        "<p>(<a href=\"https://c.example/(d)\">https://c.example/(d)</a>) &quot;<a href=\"https://e.example\">https://e.example</a>&quot;</p>",
    ),
    (
        "<a@b.example> <mailto:c@d.example> <+49123456> <tel:+1234> <a@b> <+12x>",
        "<p><a href=\"mailto:a@b.example\">a@b.example</a> <a href=\"mailto:c@d.example\">c@d.example</a> <a href=\"tel:+49123456\">+49123456</a> \
         <a href=\"tel:+1234\">+1234</a> &lt;a@b&gt; &lt;+12x&gt;</p>",
    ),
    ("<id:guide> <id:customize> <id:nowhere>", "<p>Server Guide Channels &amp; Roles &lt;id:nowhere&gt;</p>"),
    ("***b** i*", "<p><i><b>b</b> i</i></p>"),
    ("_under_score_ snake_case_word", "<p>_under<i>score</i> snake_case_word</p>"),
    ("1) one\n+ two", "<p>1) one<br>+ two</p>"),
    ("> a\n>b\n> - c", "<blockquote><p>a</p></blockquote><p>&gt;b</p><blockquote><ul><li>c</li></ul></blockquote>"),
    ("# a\n-# b\n#c", "<h1>a</h1><p>b</p><p>#c</p>"),
    ("¯\\_(ツ)_/¯", "<p>¯\\_(ツ)_/¯</p>"),
    ("~~||a||~~", "<p><span class=\"spoiler\"><s>a</s></span></p>"),
    ("~~a~~b~~ ||||", "<p><s>a</s>b~~ ||||</p>"),
    ("**שלום** *漢字* __👩‍👩‍👧__", "<p><b>שלום</b> <i>漢字</i> <u>👩‍👩‍👧</u></p>"),
    ("&amp; <b>x</b>", "<p>&amp;amp; &lt;b&gt;x&lt;/b&gt;</p>"),
    ("@everyone @here", "<p>@everyone @here</p>"),
];

#[test]
fn is_read_as_its_client_reads_it() {
    for (source, seen) in READ {
        assert_eq!(&write::html(&read::discord(source), HtmlRules::CANONICAL).text, seen, "{source:?}");
    }
}

#[test]
fn a_mention_is_called_by_the_name_that_is_known() {
    let document =
        read::discord_with("<@1> in <#2>", &|mention| (mention.of == Mentioned::User).then(|| "@Ada".to_owned()));
    assert_eq!(write::plain(&document).text, "@Ada in #2");
    assert_eq!(write::discord(&document).text, "<@1> in <#2>");
    assert_eq!(write::telegram(&document).degraded.names().collect::<Vec<_>>(), ["mentions"]);
}

#[test]
fn what_was_read_is_written_the_same_way() {
    for source in [
        "**a** *b* __c__ ~~d~~ ||e|| `f`",
        "# H\n\n## H2\n\n-# small",
        "> q\n> r\n\n- a\n- b\n  - c",
        "1. a\n2. b",
        "```js\nlet a;\n```",
        "<@1> <@&2> <#3> </say:4> <:one:1> <a:two:2> <t:0:R>",
        "[m](https://x.example) https://b.example",
    ] {
        let document = read::discord(source);
        let written = write::discord(&document);
        assert_eq!(written.text, source);
        assert!(written.degraded.is_empty());
    }
}

/// Words that mean themselves, whatever they look like.
#[test]
fn words_stay_words() {
    for words in [
        "*a* _b_ __c__ **d** ~~e~~ ||f|| `g` ```h```",
        "# no",
        "-# no",
        "> no",
        ">>> no",
        "- no",
        "* no",
        "1. no",
        "[a](https://x.example)",
        "\\*",
        "<#1>",
        "<:a:1>",
        "</a:1>",
        "<t:0>",
        "snake_case_name",
        "a~~b||c`d",
        "~",
        "|",
        "||",
        "_",
        "`",
        "\\",
    ] {
        let written = write::discord(&Document::paragraph(vec![Span::text(words)])).text;
        let read = read::discord(&written);
        let links_aside = write::plain(&read).text.replace(" (https://x.example)", "");
        assert_eq!(links_aside, words, "{written}");
        assert!(
            matches!(read.blocks.as_slice(), [frontdesk_richtext::Block::Paragraph(row)] if row.iter().all(|span| span.style.is_none())),
            "{written}"
        );
    }
}

#[test]
fn t39_nobody_can_be_called() {
    for hostile in [
        "@everyone",
        "@here",
        "@EveryOne",
        "<@123>",
        "<@!123>",
        "<@&123>",
        "`@everyone`",
        "```\n@here <@1>\n```",
        "[@everyone](https://x.example/@everyone)",
        "https://x.example/@everyone",
        "**@**everyone",
        "@**everyone**",
        "<**@123>**",
        "&#64;everyone",
        "\\@everyone",
        "| @here |\n|---|\n| <@1> |",
        "# @everyone",
        "- <@&5>",
    ] {
        let written = write::discord(&read::markdown(hostile)).text;
        let lower = written.to_lowercase();
        assert!(!lower.contains("@everyone") && !lower.contains("@here"), "{hostile:?}: {written}");
        assert!(
            !written.contains("<@1") && !written.contains("<@!") && !written.contains("<@&"),
            "{hostile:?}: {written}"
        );
        let mentions = read::discord(&written).blocks.iter().any(|block| format!("{block:?}").contains("Mention("));
        assert!(!mentions, "{hostile:?}: {written}");
    }
}

#[test]
fn t40_a_fence_cannot_be_left_and_a_link_says_where_it_leads() {
    let code = |text: &str| {
        let document = read::markdown(&format!("~~~~\n{text}\n~~~~"));
        read::discord(&write::discord(&document).text)
    };
    for hostile in ["``` **x** ```", "```", "a\n```\n@everyone", "````", "`", "``"] {
        let read = code(hostile);
        assert!(
            matches!(read.blocks.as_slice(), [frontdesk_richtext::Block::Code { text, .. }] if text.replace('\u{200b}', "") == hostile),
            "{hostile:?}: {read:?}"
        );
    }
    let forged = write::discord(&read::markdown("[https://good.example](https://evil.example)"));
    assert_eq!(forged.text, "https://good.example (https://evil.example)");
    assert_eq!(forged.degraded.names().collect::<Vec<_>>(), ["links"]);
    let inline =
        Document::paragraph(vec![Span { piece: Piece::Text("a`b``c".into()), style: Style::CODE, link: None }]);
    assert_eq!(write::plain(&read::discord(&write::discord(&inline).text)).text.replace('\u{200b}', ""), "a`b``c");
}
