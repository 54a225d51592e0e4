//! The command line as it is called: what stands here is shared by the `cli_` tests, with the claims about all commands.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::Value;

use crate::world::{World, echo, takes};

/// How long a command may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Its output, when it ended well.
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        self.out
    }

    /// The JSON that it printed, when it ended well.
    pub(crate) fn json(self) -> Value {
        let out = self.fine();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// What it said on standard error, when it ended with this code.
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self.err
    }
}

/// The built program in a folder, with nothing of the test's own in its environment.
pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Runs it to its end. On another thread: what it talks to may live on this one.
pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Ended {
    ended(program(folder, arguments)).await
}

/// The same with this on standard input.
pub(crate) async fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Ended {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let mut command = program(folder, arguments);
    command.stdin(file.reopen().unwrap());
    ended(command).await
}

pub(crate) async fn ended(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

impl World {
    /// A command that asks this world's daemon.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Ended {
        run(self.site.folder(), arguments).await
    }
}

/// A command that goes on, and what it has printed so far. Killed at the end of its test at the latest.
pub(crate) struct Running {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Arc::default(), Arc::default());
        let readers = vec![collect(child.stdout.take().unwrap(), &out), collect(child.stderr.take().unwrap(), &err)];
        Self { child, out, err, readers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    pub(crate) fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Waits until its output is as wanted.
    pub(crate) async fn out_until(&self, wanted: impl Fn(&str) -> bool) -> String {
        until("output", || Some(self.out()).filter(|out| wanted(out)), || format!("{} {}", self.out(), self.err()))
            .await
    }

    /// Waits until it has said this on standard error.
    pub(crate) async fn says(&self, words: &str) {
        until(words, || self.err().contains(words).then_some(()), || self.err()).await;
    }

    /// Waits for its end.
    pub(crate) async fn ends(mut self) -> Ended {
        let status = until("its end", || self.child.try_wait().unwrap(), String::new).await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { status, out: self.out(), err: self.err() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut bytes) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    })
}

/// For what gives no signal to the outside.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>, last: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}; last: {}", last());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Text without what is different each time: ids get numbers in the order in which they come, moments and spans a word, and
/// runs of spaces, whose length depends on both, become two.
pub(crate) fn masked(text: &str) -> String {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut masked = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for prefix in ["cnv_", "msg_", "evt_", "cnt_", "dlt_"] {
            while let Some(at) = line.find(prefix).filter(|at| line.len() >= at + 30) {
                let id = line[at..at + 30].to_owned();
                let number = *seen.entry(id.clone()).or_insert_with(|| {
                    let count = counts.entry(prefix).or_default();
                    *count += 1;
                    *count
                });
                line = line.replace(&id, &format!("{}-{number}", &prefix[..3]));
            }
        }
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut line = words.join(" ");
        for at in 0..line.len() {
            let is_moment = line.get(at..at + 20).is_some_and(|piece| {
                piece.bytes().zip("0000-00-00 00:00:00Z".bytes()).all(|(byte, form)| match form {
                    b'0' => byte.is_ascii_digit(),
                    form => byte == form,
                })
            });
            if is_moment {
                line.replace_range(at..at + 20, "<moment>");
            }
        }
        for seconds in 0..60 {
            line = line
                .replace(&format!("  {seconds} s ago"), "  <ago>")
                .replace(&format!(" up {seconds} s"), " up <span>");
            line = line.replace(&format!(" for {seconds} s"), " for <span>");
        }
        line = line.replace("just now", "<ago>");
        while line.contains("   ") {
            line = line.replace("   ", "  ");
        }
        masked.push_str(&line);
        masked.push('\n');
    }
    masked
}

/// Every command that asks a daemon.
const ASKING: &[&[&str]] = &[
    &["status"],
    &["tail"],
    &["send", "cnv_00000000000000000000000000", "hello"],
    &["conversations"],
    &["conversations", "list"],
    &["conversations", "show", "cnv_00000000000000000000000000"],
    &["conversations", "resolve", "cnv_00000000000000000000000000"],
    &["dead-letters", "list"],
    &["dead-letters", "show", "dlt_00000000000000000000000000"],
    &["dead-letters", "replay", "dlt_00000000000000000000000000"],
    &["dead-letters", "drop", "--yes", "dlt_00000000000000000000000000"],
    &["channel", "resume", "shop"],
    &["agent", "resume"],
];

#[tokio::test]
async fn without_a_daemon_each_command_says_where_it_looked_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap().join("data/control.sock");
    // The secret is not at hand: who asks does not need it.
    std::fs::write(
        folder.path().join("channels.toml"),
        "[agent]\nurl = \"http://x\"\nsecret = { env = \"NOT_THERE\" }\n",
    )
    .unwrap();
    for arguments in ASKING {
        let said = run(folder.path(), arguments).await.refused(1);
        let wanted = format!(
            "frontdesk: no daemon answers at {}\n  mend: start it with `frontdesk run`, or name its configuration with \
             --config, or its socket with --socket\n",
            place.display()
        );
        assert_eq!(said, wanted, "{arguments:?}");
        let arguments = [*arguments, &["--json"]].concat();
        let ended = run(folder.path(), &arguments).await;
        assert_eq!(ended.out, "", "{arguments:?}");
        let said: Value = serde_json::from_str(&ended.refused(1)).unwrap();
        assert!(said["message"].as_str().unwrap().starts_with("no daemon answers at /"), "{said}");
        assert!(said["mend"].as_str().unwrap().contains("--socket"), "{said}");
    }
}

#[tokio::test]
async fn a_socket_that_nobody_may_open_or_that_is_left_over_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let named = path.to_str().unwrap();
    let said = run(folder.path(), &["status", "--socket", named]).await.refused(1);
    assert!(said.contains("left.sock, though something is left there"), "{said}");
    let said = run(folder.path(), &["status", "--socket", "not/there.sock"]).await.refused(1);
    assert!(said.contains("/not/there.sock\n"), "in full: {said}");
}

#[tokio::test]
async fn wrong_usage_and_a_wrong_configuration_end_with_two() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["statsu"][..],
        &["status", "--what"],
        &["send", "cnv_00000000000000000000000000"],
        &["send", "mia", "hello"],
        &["conversations", "--status", "closed"],
        &["conversations", "--limit", "0"],
        &["conversations", "show", "17"],
        &["conversations", "snooze", "cnv_00000000000000000000000000", "soon"],
        &["dead-letters", "replay"],
        &["dead-letters", "replay", "--all", "dlt_1"],
        &["completions", "cobol"],
        &["check", "--socket", "x"],
    ] {
        let said = run(folder.path(), arguments).await.refused(2);
        assert!(said.starts_with("error: "), "{said}");
    }
    let said = run(folder.path(), &["status"]).await.refused(2);
    assert!(said.contains("there is no configuration at") && said.contains("mend: "), "{said}");
    std::fs::write(folder.path().join("channels.toml"), "[store]\nurl = \"file:x\"\n").unwrap();
    let said = run(folder.path(), &["status"]).await.refused(2);
    assert!(said.contains("channels.toml:2: [store] url: not a store"), "{said}");
    let said: Value = serde_json::from_str(&run(folder.path(), &["status", "--json"]).await.refused(2)).unwrap();
    assert_eq!(said["findings"][0]["key"], "store.url", "{said}");
}

#[tokio::test]
async fn the_description_of_the_api_needs_no_configuration_and_is_what_a_daemon_serves() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(folder.path(), &["openapi"]).await.json();
    assert!(printed["openapi"].as_str().unwrap().starts_with("3.1"), "{}", printed["openapi"]);
    // One channel of each kind that is written to. Nobody is at that address.
    let world = World::that_echoes().await;
    let channel = "[channels.tg]\nkind = \"telegram\"\ntoken = \"1:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0\"\nreceive = \"webhook\"\n\
                   api_url = \"http://127.0.0.1:9\"\n";
    let site = world.site.with(channel).with_server("public_url = \"https://desk.example.com\"");
    let world = World { site, ..world };
    let _daemon = world.start().await;
    assert_eq!(world.get("/openapi.json").await, printed);
}

#[tokio::test]
async fn completions_are_there_for_each_shell_and_bash_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(folder.path(), &["completions", shell]).await.fine();
        assert!(script.contains("dead-letters") && script.contains("hand-back"), "{shell}");
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    let asked = "source ./bash; COMP_WORDS=(frontdesk dead-letters re); COMP_CWORD=2; _frontdesk frontdesk re dead-letters; \
                 echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", asked]).current_dir(folder.path());
    assert_eq!(ended(bash).await.fine(), "replay\n");
}

#[tokio::test]
async fn every_help_has_its_examples_and_is_no_wider_than_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["init", "status", "tail", "send", "conversations", "dead-letters", "openapi", "completions"];
    for name in names {
        let help = run(folder.path(), &["help", name]).await.fine();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} has none"));
        assert!(examples.lines().all(|line| line.starts_with("  frontdesk ")), "{name}: {examples}");
        let prose = help.lines().filter(|line| !line.starts_with("  frontdesk "));
        assert!(prose.clone().all(|line| line.chars().count() <= 100), "{name}: {help}");
    }
    let help = run(folder.path(), &["--help"]).await.fine();
    for words in ["FRONTDESK_CONFIG", "FRONTDESK_LOG", "FRONTDESK__SERVER__LISTEN", "NO_COLOR", "Exit codes"] {
        assert!(help.contains(words), "{words}");
    }
    let version = run(folder.path(), &["--version"]).await.fine();
    assert_eq!(version, format!("frontdesk {}\n", env!("CARGO_PKG_VERSION")));
}

/// The documented examples are called as they stand, up to their ids.
#[tokio::test]
async fn the_examples_of_the_help_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let mut examples = 0;
    for name in ["status", "tail", "send", "conversations", "dead-letters"] {
        let help = run(folder.path(), &["help", name]).await.fine();
        for line in help.lines().filter_map(|line| line.strip_prefix("  frontdesk ")) {
            let line = line.replace("01k...", "00000000000000000000000000");
            let line = line.split(['|', '<', '>']).next().unwrap().to_owned();
            let mut shell = Command::new("bash");
            let called = format!("{} {line}", env!("CARGO_BIN_EXE_frontdesk"));
            shell.args(["-c", &called]).current_dir(folder.path()).stdin(Stdio::null());
            let said = ended(shell).await.err;
            // There is no configuration here; what is wrong with the call itself would be said first.
            assert!(said.contains("there is no configuration at"), "{line}: {said}");
            examples += 1;
        }
    }
    assert!(examples > 15, "{examples}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_quietly() {
    let world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    for number in 0..3 {
        world.say(&format!("t{number}"), "1", "hello").await;
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_frontdesk"));
    for command in ["status", "conversations", "conversations --json", "openapi", "completions bash", "check"] {
        // The reader is gone before the first word is written.
        let line = format!(
            "set -o pipefail; sleep 0.1; {} {command} | true; exec 3>&-; echo ${{PIPESTATUS[0]}}",
            program.display()
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &line]).current_dir(world.site.folder());
        let ended = ended(bash).await;
        assert_eq!((ended.out.trim(), ended.err.as_str()), ("0", ""), "{command}");
    }
}

/// The agent refuses each message: dead letters.
pub(crate) async fn world_that_refuses() -> World {
    World::of(FarEnd::start(|_| Reply::text(422, "not like that")).await, FarEnd::start(takes).await)
}
