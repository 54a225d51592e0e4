//! `GET /v1/changes`: what happens, as it happens (server-sent events, [WHATWG HTML 9.2]).
//!
//! Each event has `id:` its position, `event:` its type and `data:` one line of JSON. A client that comes back with the last
//! position it saw (`Last-Event-ID`, or `?after=`) misses nothing and sees nothing twice; where changes behind it are not kept
//! any more, `event: reset` tells so first. At the start comes the position that the stream begins at, and every 15 seconds without
//! an event a comment with the position reached, so that a filtered stream does not fall behind.
//!
//! The stream is read page by page, the next one when the client has taken the one before; nothing is kept for a client
//! beside that page. It ends in good order when the listener stops and when its token is not valid any more: a client
//! that comes back goes on where it was, or learns why it may not.
//!
//! [WHATWG HTML 9.2]: https://html.spec.whatwg.org/multipage/server-sent-events.html

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Extension, State},
    response::Response,
};
use bytes::Bytes;
use frontdesk_engine::{ChangeView, DeskError, Feed, FeedBatch};
use frontdesk_model::ChannelName;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use crate::{
    Scope,
    auth::{Access, Tokens},
    conversations::{Visible, read_channel, visible},
    endpoint::{Endpoint, Who},
    problem::{Problem, ProblemKind},
    query,
    routes::{Api, SharedApi},
    streams::Open,
    visit::Visit,
};

const READERS: &[Scope] = &[Scope::Agent, Scope::Desk];
/// So often something is sent, that a client and what is between may see that the other side lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a browser waits before it comes back.
const RETRY: &str = "retry: 1000\n";
const LAST_EVENT_ID: &str = "last-event-id";

const ABOUT: &str = "Server-sent events: `id` is a position, `event` the type (`message.created`, `delivery.updated`, \
    `conversation.updated`), `data` the event as the agent gets it, without `history`, `reply_url` and `reply_token`. Without a \
    position the stream begins now. A client that comes back with the last position it saw misses nothing and sees nothing \
    twice; `event: reset` says that changes before what follows are not kept any more. A comment comes every 15 seconds. A \
    reader that takes nothing for 30 seconds is dropped. A token has at most 8 streams.";

pub(crate) fn endpoints() -> [Endpoint; 1] {
    [Endpoint::get("/v1/changes", "followChanges", follow)
        .about("What happens, as it happens", ABOUT)
        .open_to(Who::Scopes(READERS))
        .query("after", "The position to go on behind.", json!({"type": "string", "minLength": 1}))
        .query("channel", "Only on this channel.", json!({"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}))
        .header("Last-Event-ID", "The position to go on behind; counts before `after`.", json!({"type": "string"}))
        .streams::<ChangeView<'_>>("The stream. `x-event-data` is what stands behind `data:`.")
        .fails(&[ProblemKind::InvalidQuery, ProblemKind::TooManyStreams, ProblemKind::Unavailable])]
}

/// `GET /v1/changes`
pub(crate) async fn follow(
    State(api): State<SharedApi>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    let mut channel = None;
    let mut after = None;
    query::words(uri.query(), &["after", "channel"], |key, value| {
        match key {
            "channel" => channel = Some(read_channel(value)?),
            _ => after = Some(value.to_owned()),
        }
        Ok(())
    })?;
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        let last =
            last.to_str().map_err(|_| query::refused("Last-Event-ID: not a position that a stream gave".into()))?;
        after = Some(last.to_owned());
    }
    let place = api.house.streams.open(&access.by())?;
    let permission = Permission::new(&api, access)?;
    let (source, position) = match visible(access, channel) {
        Visible::All => open(&api, after, Vec::new()).await?,
        Visible::Only(channels) if channels.is_empty() => (Source::Nothing, after),
        Visible::Only(channels) => open(&api, after, channels).await?,
    };
    let stream = Stream {
        source,
        permission,
        position,
        visit: visit.clone(),
        heartbeat: Instant::now() + HEARTBEAT,
        begun: false,
        _place: place,
    };
    let pieces = stream::unfold(stream, |mut stream| async {
        let piece = stream.piece().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), stream))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    visit.answer_has_no_end();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Some proxies hold an answer back until it is whole, unless they are told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn open(
    api: &Api,
    after: Option<String>,
    channels: Vec<ChannelName>,
) -> Result<(Source, Option<String>), Problem> {
    let feed = api.desk.changes(after, channels).await.map_err(|error| match error {
        DeskError::Invalid(_) => query::refused(
            "after: not a position that a stream gave; leave it out (and Last-Event-ID with it) to begin now".into(),
        ),
        other => other.into(),
    })?;
    let position = feed.position().to_owned();
    Ok((Source::Feed(Box::new(feed)), Some(position)))
}

/// Where changes come from.
enum Source {
    Feed(Box<Feed>),
    /// The caller may see none.
    Nothing,
}

impl Source {
    async fn next(&mut self) -> Result<FeedBatch, DeskError> {
        match self {
            Self::Feed(feed) => feed.next().await,
            Self::Nothing => std::future::pending().await,
        }
    }

    fn position(&self) -> Option<&str> {
        match self {
            Self::Feed(feed) => Some(feed.position()),
            Self::Nothing => None,
        }
    }
}

/// Whether the stream's token is (still) good for it.
struct Permission {
    access: Option<Access>,
    tokens: watch::Receiver<Arc<Tokens>>,
}

impl Permission {
    /// The tokens may have been replaced since the request came in.
    fn new(api: &Api, access: &Access) -> Result<Self, Problem> {
        let mut permission = Self { access: access.of_a_token().cloned(), tokens: api.house.tokens.subscribe() };
        if permission.is_good() { Ok(permission) } else { Err(crate::auth::wrong()) }
    }

    fn is_good(&mut self) -> bool {
        let tokens = self.tokens.borrow_and_update();
        self.access.as_ref().is_none_or(|access| tokens.still_grant(access, READERS))
    }

    /// Completes when it is not good any more.
    async fn ended(&mut self) {
        while self.tokens.changed().await.is_ok() {
            if !self.is_good() {
                return;
            }
        }
        // Who replaces tokens is gone; then nothing changes any more.
        std::future::pending().await
    }
}

struct Stream {
    source: Source,
    permission: Permission,
    /// What the client was last told.
    position: Option<String>,
    visit: Visit,
    heartbeat: Instant,
    begun: bool,
    _place: Open,
}

impl Stream {
    /// What to send next; waits until there is something. `None`: the end.
    async fn piece(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(self.beginning());
        }
        let piece = tokio::select! {
            biased;
            () = self.visit.leaving() => None,
            () = self.permission.ended() => None,
            // The client comes back, and is told what is the matter.
            batch = self.source.next() => self.written(&batch.ok()?),
            () = tokio::time::sleep_until(self.heartbeat) => Some(self.sign_of_life()),
        };
        self.heartbeat = Instant::now() + HEARTBEAT;
        piece
    }

    fn beginning(&self) -> Bytes {
        match &self.position {
            Some(position) => format!("{RETRY}id: {position}\n\n"),
            None => format!("{RETRY}\n"),
        }
        .into()
    }

    fn sign_of_life(&mut self) -> Bytes {
        match self.source.position() {
            Some(position) if self.position.as_deref() != Some(position) => {
                let piece = format!(":\nid: {position}\n\n");
                self.position = Some(position.to_owned());
                piece.into()
            }
            _ => Bytes::from_static(b":\n\n"),
        }
    }

    fn written(&mut self, batch: &FeedBatch) -> Option<Bytes> {
        self.position = self.source.position().map(str::to_owned);
        Some(blocks(batch, self.position.as_deref()).into())
    }
}

/// Events as they are sent. `position`: where the stream stands behind them.
fn blocks(batch: &FeedBatch, position: Option<&str>) -> String {
    let length = batch.items.iter().map(|item| item.data.len() + item.position.len() + 64).sum::<usize>();
    let mut text = String::with_capacity(length + 128);
    // Writing to a String cannot fail.
    let mut write = |words: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(words);
    };
    if batch.lost {
        write(format_args!("event: reset\n"));
        // With events behind it the next of them says how far it goes: a client that goes away before hears it again.
        if let (true, Some(position)) = (batch.items.is_empty(), position) {
            write(format_args!("id: {position}\n"));
        }
        write(format_args!("data: {{\"type\":\"reset\"}}\n\n"));
    }
    for item in &batch.items {
        write(format_args!("id: {}\nevent: {}\ndata: {}\n\n", item.position, item.kind, item.data));
    }
    text
}

#[cfg(test)]
mod tests {
    use frontdesk_engine::FeedItem;

    use super::*;

    fn items(positions: &[&str]) -> Vec<FeedItem> {
        let item = |position: &&str| FeedItem {
            position: (*position).to_owned(),
            kind: "message.created",
            data: "{\"type\":\"message.created\"}".to_owned(),
        };
        positions.iter().map(item).collect()
    }

    #[test]
    fn what_is_lost_is_said_before_what_follows() {
        let lost = |positions| blocks(&FeedBatch { items: items(positions), lost: true }, Some("p9"));
        insta::assert_snapshot!("lost_with_events_behind", lost(&["p7", "p9"]));
        insta::assert_snapshot!("lost_with_nothing_behind", lost(&[]));
        let kept = FeedBatch { items: items(&["p1"]), lost: false };
        insta::assert_snapshot!("events", blocks(&kept, Some("p1")));
    }
}
