//! `frontdesk status`: how everything is. What is unwell comes first, with what to do about it.

use std::{fmt::Write as _, time::Duration};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, read},
    forms::{Channel, Lane, State, Status},
    screen::{Paint, Screen},
    table::{Cell, Table},
    times::{ago, span},
    words,
};

/// `frontdesk status`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// End with 1 when anything is unwell, for a monitor
    #[arg(long)]
    check: bool,
}

/// Asks and prints.
///
/// # Errors
/// No daemon answers; or, with `--check`, something is unwell.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let answer = daemon.ask(&Ask::get("/v1/status")).await?;
    let status: Status = read(answer.clone())?;
    if call.json {
        call.print_json(&answer)?;
    } else {
        call.screen.print(&page(&status, &call.screen))?;
    }
    if arguments.check && !is_well(&status) { Err(Failure::Unwell) } else { Ok(()) }
}

fn is_well(status: &Status) -> bool {
    status.unwell.is_empty() && !status.daemon.stopping
}

fn page(status: &Status, screen: &Screen) -> String {
    let mut page = complaints(status, screen);
    let mut fact = |name: &str, what: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{}{}", screen.paint(Paint::Faint, &words::padded(name, 15)), words::on_one_line(&what));
    };
    let process = &status.daemon;
    let up = span(process.now.since(process.started_at));
    let at = process.public_url.as_deref().map(|url| format!(", at {url}")).unwrap_or_default();
    let stopping = if process.stopping { ", stopping" } else { "" };
    fact("Daemon", format!("Frontdesk {}, up {up}{at}{stopping}", process.version));
    let store = &status.store;
    let room = match (store.room, &store.reason) {
        (true, _) => "takes new messages".to_owned(),
        (false, Some(reason)) => format!("takes no new messages: {reason}"),
        (false, None) => "takes no new messages".to_owned(),
    };
    fact("Store", format!("{}; {room}", store.name));
    // Some lines: what can be lost, and what to write where so that it is not.
    for line in store.durability.lines() {
        fact("", line.to_owned());
    }
    let agent = &status.agent;
    let in_hand = if agent.state == State::Absent { String::new() } else { format!(", {} in hand", agent.in_hand) };
    let how = endpoint(agent.state, agent.since.map(|since| process.now.since(since)), agent.reason.as_deref());
    fact("Agent", format!("{how}{in_hand}"));
    let counts = &status.conversations;
    fact("Conversations", format!("{} open, {} pending, {} resolved", counts.open, counts.pending, counts.resolved));
    fact("Dead letters", status.dead_letters.to_string());
    for table in [daemons(status), channels(status), lanes(status)] {
        if !table.is_empty() {
            page.push('\n');
            page.push_str(&table.on(screen));
        }
    }
    page
}

/// The engine's own sentences: they name the mend where there is one.
fn complaints(status: &Status, screen: &Screen) -> String {
    if is_well(status) {
        return format!("{}\n\n", screen.paint(Paint::Good, "All is well."));
    }
    let mut text = String::new();
    for sentence in &status.unwell {
        let _ = writeln!(text, "{}", screen.paint(Paint::Bad, &words::on_one_line(sentence)));
    }
    if status.daemon.stopping {
        let _ = writeln!(text, "{}", screen.paint(Paint::Odd, "the daemon is stopping and takes nothing new"));
    }
    if status.agent.state == State::Unwell {
        text.push_str("  the agent is tried again by itself; at once with: frontdesk agent resume\n");
    }
    for channel in status.channels.iter().filter(|channel| channel.state == State::Unwell) {
        let name = words::on_one_line(&channel.name);
        let _ = writeln!(text, "  {name} is tried again by itself; at once with: frontdesk channel resume {name}");
    }
    text.push('\n');
    text
}

fn endpoint(state: State, since: Option<Duration>, reason: Option<&str>) -> String {
    let since = since.map(|since| format!(" for {}", span(since))).unwrap_or_default();
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    match state {
        State::Well => "well".into(),
        State::Unwell => format!("unwell{since}{reason}"),
        State::Stopped => format!("stopped{since}{reason}"),
        State::Absent => "none: new conversations belong to teammates".into(),
        State::Unknown => format!("in a state that this program does not know{reason}"),
    }
}

/// Where there is more than the one that answers.
fn daemons(status: &Status) -> Table {
    let mut table = Table::new(&["DAEMON", "VERSION", "UP", "SEEN", "WITH AGENT", "SENDING", "HOLDS", "UNWELL"], 7);
    let now = status.daemon.now;
    for daemon in status.daemons.iter().filter(|_| status.daemons.len() > 1) {
        let this = if daemon.this { " (this one)" } else { "" };
        table.row([
            Cell::of(format!("{}{this}", daemon.name)).painted(Paint::Bold),
            Cell::of(&daemon.version),
            Cell::of(span(now.since(daemon.started_at))),
            Cell::of(ago(Some(daemon.seen_at), now)),
            Cell::count(daemon.agent_in_hand),
            Cell::count(daemon.deliver_in_hand),
            Cell::of(daemon.holds.join(" ")),
            Cell::of(daemon.unwell.join("; ")).painted(if daemon.unwell.is_empty() {
                Paint::Plain
            } else {
                Paint::Bad
            }),
        ]);
    }
    table
}

fn channels(status: &Status) -> Table {
    let mut table =
        Table::new(&["CHANNEL", "KIND", "STATE", "LAST RECEIVED", "LAST SENT", "WAITING", "PARKED", "WHY"], 7);
    let now = status.daemon.now;
    for channel in &status.channels {
        let since = channel.since.map(|since| format!(" for {}", span(now.since(since)))).unwrap_or_default();
        let (word, paint) = match channel.state {
            State::Well => ("well".to_owned(), Paint::Good),
            State::Unwell => (format!("unwell{since}"), Paint::Bad),
            State::Stopped => (format!("stopped{since}"), Paint::Bad),
            State::Absent => ("not configured".to_owned(), Paint::Bad),
            State::Unknown => ("unknown".to_owned(), Paint::Odd),
        };
        table.row([
            Cell::of(&channel.name).painted(Paint::Bold),
            Cell::of(channel.kind.as_deref().unwrap_or_default()),
            Cell::of(word).painted(paint),
            Cell::of(ago(channel.last_received_at, now)),
            Cell::of(ago(channel.last_sent_at, now)),
            Cell::count(channel.waiting),
            Cell::count(parked(status, channel)),
            Cell::of(channel.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn parked(status: &Status, channel: &Channel) -> u64 {
    let out = |lane: &&Lane| lane.channel == channel.name && lane.lane == "deliver";
    status.lanes.iter().filter(out).map(|lane| lane.parked).sum()
}

fn lanes(status: &Status) -> Table {
    let mut table = Table::new(&["LANE", "CHANNEL", "DUE", "IN HAND", "PARKED", "OLDEST"], 1);
    for lane in &status.lanes {
        table.row([
            Cell::of(&lane.lane),
            Cell::of(&lane.channel),
            Cell::count(lane.ready),
            Cell::count(lane.claimed),
            Cell::count(lane.parked),
            Cell::of(ago(lane.oldest_at, status.daemon.now)),
        ]);
    }
    table
}
