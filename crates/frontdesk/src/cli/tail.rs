//! `frontdesk tail`: what happens, as it happens, a line each.
//!
//! It remembers the position of the last event that it printed. When the connection ends it comes back with that position, for as
//! long as it takes, so that nothing is missing and nothing is there twice, also when the daemon was restarted in
//! between. Ctrl-C ends it well; so does a reader that goes away.

use std::{io, time::Duration};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, NoStream, piece, read},
    forms::{Change, Event, Message, Status},
    screen::{Paint, note},
    stream::{Step, Steps, Told},
    times, words,
};
use crate::config::nearest;

/// The daemon gives a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two looks for a daemon that is not there.
const PAUSE: Duration = Duration::from_millis(500);
/// Between the end of a stream and the next.
const BREATH: Duration = Duration::from_millis(200);
/// Columns of a name; longer ones are cut.
const WHO: usize = 20;

/// `frontdesk tail`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Only this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Go on behind this position, as --json shows it, instead of beginning now
    #[arg(long, value_name = "POSITION")]
    since: Option<String>,
    /// Show what is written, too
    #[arg(long)]
    text: bool,
}

/// Follows until it is interrupted.
///
/// # Errors
/// No daemon answers at the start, or it refuses.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        ended = follow(call, arguments) => ended,
        () = unread() => Err(Failure::Unread),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Completes when the other end of a pipe is closed: without it, `tail | head` would wait for one more event.
async fn unread() {
    let (closed, told) = oneshot::channel();
    // A thread of its own, which ends with the process: a terminal or a file is never closed like that.
    std::thread::spawn(move || {
        let out = io::stdout();
        let mut asked = [PollFd::new(&out, PollFlags::empty())];
        if poll(&mut asked, None).is_ok() && asked.iter().any(|of| of.revents().contains(PollFlags::ERR)) {
            let _ = closed.send(());
        }
    });
    if told.await.is_err() {
        std::future::pending().await
    }
}

async fn follow(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let mut printer = Printer { call, text: arguments.text, position: arguments.since.clone(), channel: 0 };
    let mut stream = open(&daemon, arguments, &printer).await.map_err(|none| match none {
        NoStream::Gone(failure) | NoStream::Later(failure) | NoStream::Refused(failure) => failure,
    })?;
    if let Some(channel) = &arguments.channel {
        point_out_a_stranger(&daemon, channel).await;
    }
    loop {
        printer.print_all(&mut stream).await?;
        // A daemon that is finishing what it has in hand ends each stream at once.
        tokio::time::sleep(BREATH).await;
        stream = come_back(&daemon, arguments, &printer).await?;
    }
}

/// A new stream behind the last position, when there is somebody to give one.
async fn come_back(daemon: &Daemon, arguments: &Arguments, printer: &Printer<'_>) -> Result<Incoming, Failure> {
    let mut told = false;
    loop {
        match open(daemon, arguments, printer).await {
            Ok(stream) => {
                if told {
                    note("frontdesk: the daemon is back");
                }
                return Ok(stream);
            }
            Err(NoStream::Refused(failure)) => return Err(failure),
            Err(NoStream::Gone(_) | NoStream::Later(_)) if told => {}
            Err(NoStream::Gone(_)) => {
                note("frontdesk: the daemon is gone; waiting for it to come back (Ctrl-C ends)");
                told = true;
            }
            Err(NoStream::Later(failure)) => {
                let why = words::on_one_line(failure.what()).into_owned();
                note(&format!("frontdesk: the daemon shows nothing for now: {why}; waiting (Ctrl-C ends)"));
                told = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(daemon: &Daemon, arguments: &Arguments, printer: &Printer<'_>) -> Result<Incoming, NoStream> {
    let channel = arguments.channel.iter().map(|channel| format!("channel={}", piece(channel)));
    let after = printer.position.iter().map(|position| format!("after={}", piece(position)));
    let query: Vec<String> = channel.chain(after).collect();
    let path = if query.is_empty() { "/v1/changes".into() } else { format!("/v1/changes?{}", query.join("&")) };
    daemon.stream(&path).await
}

/// Nothing will ever be seen of a channel whose name is misspelt.
async fn point_out_a_stranger(daemon: &Daemon, channel: &str) {
    let Ok(status) = daemon.read::<Status>(&Ask::get("/v1/status")).await else { return };
    let names: Vec<&str> = status.channels.iter().map(|known| known.name.as_str()).collect();
    if names.contains(&channel) {
        return;
    }
    let meant = nearest(channel, names.iter().copied()).map(|near| format!("; did you mean {near}?"));
    let (channel, meant) = (words::on_one_line(channel), meant.unwrap_or_default());
    note(&format!("frontdesk: no channel {channel} is configured{meant} (there are: {})", names.join(", ")));
}

struct Printer<'c> {
    call: &'c Call,
    text: bool,
    position: Option<String>,
    /// The widest channel's name so far.
    channel: usize,
}

impl Printer<'_> {
    /// Until the stream ends, which is no failure: there will be another.
    async fn print_all(&mut self, stream: &mut Incoming) -> Result<(), Failure> {
        let mut steps = Steps::default();
        while let Ok(Some(Ok(frame))) = timeout(SILENCE, stream.frame()).await {
            let Some(bytes) = frame.data_ref() else { continue };
            let steps = steps.of(bytes);
            let mut lines = String::new();
            for step in &steps {
                lines.push_str(&self.line(step)?);
            }
            self.call.screen.print(&lines)?;
            // Only what is printed is behind us.
            if let Some(position) = steps.into_iter().rev().find_map(|step| step.position) {
                self.position = Some(position);
            }
        }
        Ok(())
    }

    fn line(&mut self, step: &Step) -> Result<String, Failure> {
        let Some(Told { kind, data }) = &step.event else { return Ok(String::new()) };
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        if self.call.json {
            let mut line = json!({ "position": step.position });
            if let (Value::Object(line), Value::Object(members)) = (&mut line, value) {
                line.extend(members);
            }
            return Ok(words::in_json(&format!("{line}\n")).into_owned());
        }
        if kind == "reset" {
            let words = "--- some changes before this are not kept any more, and are missing here";
            return Ok(format!("{}\n", self.call.screen.paint(Paint::Odd, words)));
        }
        Ok(self.of_event(&read(value)?))
    }

    fn of_event(&mut self, event: &Event) -> String {
        let screen = &self.call.screen;
        let conversation = &event.data.conversation;
        let channel = words::on_one_line(&conversation.channel);
        self.channel = self.channel.max(words::width(&channel));
        let Happening { direction, who, what, paint, said } = Happening::of(event);
        let who = words::on_one_line(&who).into_owned();
        let line = format!(
            "{}  {}  {}  {:<4}  {}  {}",
            screen.paint(Paint::Faint, &times::moment(event.timestamp)),
            words::padded(&channel, self.channel),
            conversation.id,
            direction,
            words::padded(&words::cut(&who, WHO), WHO),
            screen.paint(paint, &words::on_one_line(&what)),
        );
        match said.filter(|_| self.text) {
            Some(text) => format!("{line}  {}\n", words::on_one_line(text.trim())),
            None => format!("{line}\n"),
        }
    }
}

/// An event in words.
struct Happening<'e> {
    direction: &'static str,
    who: String,
    what: String,
    paint: Paint,
    said: Option<&'e str>,
}

impl<'e> Happening<'e> {
    fn of(event: &'e Event) -> Self {
        let data = &event.data;
        match (&data.message, &data.delivery, &data.change) {
            (Some(message), ..) => Self::message(message),
            (_, Some(delivery), _) => {
                let why = delivery.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
                let what = format!("{}{why}", delivery.status);
                let paint = of_delivery(&delivery.status);
                Self { direction: "out", who: "-".into(), what, paint, said: None }
            }
            (.., Some(change)) => {
                Self { direction: "-", who: change.by.clone(), what: changed(change), paint: Paint::Plain, said: None }
            }
            _ => Self { direction: "-", who: "-".into(), what: event.kind.clone(), paint: Paint::Plain, said: None },
        }
    }

    fn message(message: &'e Message) -> Self {
        let (direction, what, paint) = match (message.direction.as_str(), message.private) {
            (_, true) => ("note", "note".to_owned(), Paint::Faint),
            ("inbound", _) if message.auto_generated => ("in", "automatic message".to_owned(), Paint::Plain),
            ("inbound", _) => ("in", "message".to_owned(), Paint::Bold),
            _ => {
                let status = message.status.as_deref().unwrap_or("message");
                ("out", status.to_owned(), of_delivery(status))
            }
        };
        Self { direction, who: message.author.shown().to_owned(), what, paint, said: Some(&message.text) }
    }
}

fn of_delivery(status: &str) -> Paint {
    match status {
        "sent" | "delivered" | "read" => Paint::Good,
        "failed" | "partial" => Paint::Bad,
        "uncertain" | "discarded" => Paint::Odd,
        _ => Paint::Plain,
    }
}

fn changed(change: &Change) -> String {
    let of = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let snoozed = change.snoozed_until.map(|until| format!("until {}", times::moment(until)));
    let pieces = [
        Some(change.status.clone()),
        snoozed,
        Some(format!("owner {}", change.owner)),
        of("assignee", &change.assignee),
        of("attention", &change.attention),
    ];
    let all = pieces.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let reason = change.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{all}{reason}")
}
