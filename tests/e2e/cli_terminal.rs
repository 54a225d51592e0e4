//! The command line on a terminal: colours, widths, and questions. The terminal is the kernel's own (a pseudo-terminal), held by
//! the test.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
};

use frontdesk_testkit::far_end::FarEnd;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    cli::{program, until},
    world::{World, echo, takes},
};

/// A terminal with a program on it.
pub(crate) struct Terminal {
    child: Child,
    ours: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn start(mut command: Command, columns: u16) -> Self {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = File::from(rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap());
        let child = command
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs)
            .spawn()
            .unwrap();
        // The command keeps its own ends of the terminal.
        drop(command);
        let ours = File::from(ours);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reading, into) = (ours.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Once the other side is closed, reading is an error.
            while let Ok(read @ 1..) = reading.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            into.lock().unwrap().push('\u{4}');
        });
        Self { child, ours, shown }
    }

    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    pub(crate) async fn shows(&self, words: &str) {
        until(words, || self.shown().contains(words).then_some(()), || self.shown()).await;
    }

    pub(crate) fn types(&mut self, words: &str) {
        self.ours.write_all(words.as_bytes()).unwrap();
    }

    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let status = until("its end", || self.child.try_wait().unwrap(), || self.shown.lock().unwrap().clone()).await;
        until("the last word", || self.shown().ends_with('\u{4}').then_some(()), || self.shown()).await;
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command shows on a terminal of this width.
async fn on_terminal(folder: &Path, arguments: &[&str], columns: u16, vars: &[(&str, &str)]) -> String {
    let mut command = program(folder, arguments);
    command.env("TERM", "xterm-256color").envs(vars.iter().copied());
    let mut terminal = Terminal::start(command, columns);
    assert!(terminal.ends().await.success(), "{arguments:?}: {}", terminal.shown());
    terminal.shown().trim_end_matches('\u{4}').replace("\r\n", "\n")
}

fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        bare.push_str(before);
        rest = after.split_once('m').expect("only colours").1;
    }
    bare + rest
}

#[tokio::test]
async fn colours_and_widths_are_a_terminals_own() {
    let world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let long = world.say(&"a long thread ".repeat(20), "1", "hello").await;
    world.settled(&long, "sent").await;
    let folder = world.site.folder();

    let piped = world.cli(&["conversations"]).await.fine();
    assert!(!piped.contains('\u{1b}') && piped.contains("a long thread ".repeat(20).trim_end()), "whole: {piped}");
    let shown = on_terminal(folder, &["conversations"], 100, &[]).await;
    assert!(shown.contains("\u{1b}[2mCONVERSATION\u{1b}[0m"), "{shown:?}");
    let lines: Vec<String> = bare(&shown).lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{lines:#?}");
    assert!(lines[1].contains(&long) && lines[1].ends_with('…'), "{lines:#?}");
    for vars in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_terminal(folder, &["conversations"], 100, &[vars]).await;
        assert_eq!(plain.replace("1 s ago", "just now"), bare(&shown).replace("1 s ago", "just now"), "{vars:?}");
    }
    let status = on_terminal(folder, &["status"], 100, &[]).await;
    assert!(status.starts_with("\u{1b}[32mAll is well.\u{1b}[0m\n"), "{status:?}");
    let json = on_terminal(folder, &["status", "--json"], 100, &[]).await;
    assert!(!json.contains('\u{1b}'), "{json}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["daemon"]["stopping"], false);
}

#[tokio::test]
async fn dropping_for_good_is_asked_about_and_only_a_yes_is_one() {
    let world = crate::cli::world_that_refuses().await;
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let letters = world.get_until("/v1/dead-letters", "a dead letter", |page| page["data"][0].is_object()).await;
    let id = letters["data"][0]["id"].as_str().unwrap();
    for (answer, code) in [("n\n", 1), ("\n", 1), ("\u{4}", 1), ("y\n", 0)] {
        let mut terminal = Terminal::start(program(world.site.folder(), &["dead-letters", "drop", id]), 80);
        terminal.shows("Drop this dead letter for good? [y/N] ").await;
        assert_eq!(world.dead_letters().await.len(), 1);
        terminal.types(answer);
        assert_eq!(terminal.ends().await.code(), Some(code), "{answer:?}: {}", terminal.shown());
    }
    assert!(world.dead_letters().await.is_empty());
}
