//! A message's content, read into the tree and written for programs.

use std::borrow::Cow;

use frontdesk_model::{Content, Decoded};

use crate::{
    read,
    tree::Document,
    write::{self, HtmlRules},
};

/// What was said, in both forms that programs ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// Plain text: every character means itself.
    pub text: Cow<'a, str>,
    /// CommonMark.
    pub markdown: Cow<'a, str>,
}

/// Reads what was said.
#[must_use]
pub fn document(content: &Content) -> Document {
    match content {
        Content::Text(text) => read::plain(text),
        Content::Markdown(markdown) => read::markdown(markdown),
    }
}

/// Shows what was read: as Markdown, as HTML of a few elements, and as plain text where the platform does not send that itself.
pub fn show(decoded: &mut Decoded, document: &Document) {
    decoded.markdown = Some(write::markdown(document).text);
    decoded.html = Some(write::html(document, HtmlRules::CANONICAL).text);
    decoded.text.get_or_insert_with(|| write::plain(document).text);
}

/// Whether a text is the same in every form: one line of words, without a sign that would mean something in Markdown, and
/// without an address. Most of what people write is, and then there is no need for a tree.
fn is_plain_everywhere(text: &str) -> bool {
    let is_number = |sign: char| sign.is_ascii_digit();
    // A number with a point or a bracket behind it would be an item of a list; there are no brackets here.
    let begins = text.starts_with(char::is_alphabetic)
        || (text.starts_with(is_number) && !text.trim_start_matches(is_number).starts_with('.'));
    let ends = text.chars().next_back().is_some_and(|sign| sign != ' ');
    let known = |sign: char| sign.is_alphanumeric() || matches!(sign, ' ' | ',' | '.' | '?' | '\'' | '!' | '"' | '-');
    begins && ends && text.chars().all(known) && !text.contains("  ") && !text.to_ascii_lowercase().contains("www.")
}

impl<'a> Said<'a> {
    /// What one of ours wrote: the form that it was written in is kept as it is, the other one is made of it.
    #[must_use]
    pub fn by_us(content: &'a Content) -> Self {
        if let Some(said) = Self::same_in_both(content) {
            return said;
        }
        Self::of_document(content, &document(content))
    }

    /// What a stranger wrote: literal text is kept as it is, and Markdown is written anew from the tree, so that it holds nothing
    /// that only one of two readers would see.
    #[must_use]
    pub fn by_a_stranger(content: &'a Content) -> Self {
        if let Some(said) = Self::same_in_both(content) {
            return said;
        }
        let document = document(content);
        Self { markdown: write::markdown(&document).text.into(), ..Self::of_document(content, &document) }
    }

    fn same_in_both(content: &'a Content) -> Option<Self> {
        let text = content.source();
        is_plain_everywhere(text).then(|| Self { text: text.into(), markdown: text.into() })
    }

    /// As [`Said::by_us`], where the document is at hand.
    #[must_use]
    pub fn of_document(content: &'a Content, document: &Document) -> Self {
        match content {
            Content::Text(text) => Self { text: text.into(), markdown: write::markdown(document).text.into() },
            Content::Markdown(markdown) => Self { text: write::plain(document).text.into(), markdown: markdown.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literal_text_stays_itself_and_markdown_means_the_same() {
        let content = Content::Text("1 * 2 * 3\n\n# no heading  ".into());
        let said = Said::by_a_stranger(&content);
        assert_eq!(said.text, content.source());
        assert_eq!(read::markdown(&said.markdown), read::plain(content.source()));
        assert_eq!(Said::by_us(&content), said);
    }

    proptest! {
        #[test]
        fn what_is_the_same_in_every_form_is_told_without_a_tree(text in "[a-zäß中0-9]{0,3}[-! \",.?'a-zA-Z0-9äß中w]{0,12}[-!a-z.0-9]{0,2}") {
            prop_assume!(is_plain_everywhere(&text));
            for content in [Content::Text(text.clone()), Content::Markdown(text.clone())] {
                let document = document(&content);
                prop_assert_eq!(&write::plain(&document).text, &text);
                prop_assert_eq!(&write::markdown(&document).text, &text);
            }
        }
    }

    #[test]
    fn a_strangers_markdown_is_written_anew_and_ours_is_kept() {
        let content = Content::Markdown("__Where__ is it?\n\n<script>x</script>".into());
        assert_eq!(Said::by_us(&content).markdown, content.source());
        let said = Said::by_a_stranger(&content);
        assert!(said.markdown.starts_with("**Where** is it?"), "{said:?}");
        assert!(said.text.starts_with("Where is it?"), "{said:?}");
    }
}
