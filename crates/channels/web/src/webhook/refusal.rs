//! Every error that a sender can get from this channel's own route. Slugs and statuses never change.

use frontdesk_model::HttpProblem;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:literal, $title:literal;)*) => {
        /// Why a message that was handed in is not taken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The last piece of the problem's `type`.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What it is, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

refusals! {
    /// 400: the body is no JSON; `detail` names line and column.
    InvalidJson = "invalid-json", 400, "The body is not JSON";
    /// 400: JSON nested deeper than the limit, which `detail` names.
    TooDeep = "json-too-deep", 400, "The body is nested too deeply";
    /// 400: neither the body nor a header says what the message is called.
    MissingId = "missing-id", 400, "The message has no id";
    /// 401: neither signed nor with a token.
    Unauthorized = "unauthorized", 401, "A signature or a bearer token is needed";
    /// 401: signed, and not with a secret of this channel over these bytes.
    BadSignature = "bad-signature", 401, "The signature is not right";
    /// 401: signed rightly, too long ago or too far ahead.
    StaleTimestamp = "stale-timestamp", 401, "The signature's timestamp is too far from now";
    /// 422: a field that is not known here; `detail` names the nearest that is.
    UnknownField = "unknown-field", 422, "The message has an unknown field";
    /// 422: a field that has to be there is not.
    MissingField = "missing-field", 422, "The message lacks a field";
    /// 422: a field holds what it cannot hold; `detail` names field and mend.
    InvalidField = "invalid-field", 422, "A field of the message is not right";
    /// 422: both forms of the content were given.
    TextAndMarkdown = "text-and-markdown", 422, "The message has both text and markdown";
    /// 503: nothing was taken; come again after `Retry-After`.
    Unavailable = "unavailable", 503, "Nothing new is taken at the moment";
}

impl Refusal {
    /// The problem that the sender gets.
    pub(super) fn because(self, detail: impl Into<String>) -> HttpProblem {
        HttpProblem {
            status: self.status(),
            slug: self.slug(),
            title: self.title(),
            detail: detail.into(),
            retry_after: None,
        }
    }
}
