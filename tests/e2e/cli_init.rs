//! `frontdesk init`: what it writes works, and what is there is not lost.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use frontdesk_testkit::{daemon::Site, far_end::FarEnd};
use serde_json::Value;

use crate::{
    cli::{Ended, Running, ended, program, run, run_with},
    world::{client, echo, is_signed, takes, text_of_delivery},
};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The daemon in this folder, on what `init` wrote.
async fn daemon(folder: &Path, address: &str) -> Running {
    let running = Running::start(program(folder, &["run"]));
    let http = client();
    for _ in 0..1500 {
        if http.get(format!("http://{address}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
            return running;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("not ready: {}", running.err());
}

/// The line that `init` tells people to call.
fn curl_of(told: &str) -> &str {
    told.lines().map(str::trim).find(|line| line.starts_with("curl ")).expect("a curl line")
}

async fn shell(folder: &Path, line: &str) -> Ended {
    let mut bash = std::process::Command::new("bash");
    bash.args(["-euc", line]).current_dir(folder);
    ended(bash).await
}

#[tokio::test]
async fn what_it_writes_starts_and_the_curl_that_it_prints_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new("unused").unwrap();
    let (agent, shop) = (FarEnd::start(echo).await, FarEnd::start(takes).await);
    let address = site.address().to_string();
    let arguments =
        ["init", "--agent", &agent.url(), "--deliver-url", &shop.url(), "--listen", &address, "--channel", "store"];
    let told = run(folder.path(), &arguments).await.fine();
    for name in ["admin.token", "store.token", "store.secret", "agent.secret"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(told.contains(name), "{told}");
        assert!(!told.contains(read(&folder.path().join(name)).trim()), "no secret is printed");
    }
    let checked = run(folder.path(), &["check", "--json"]).await;
    assert_eq!(checked.fine(), "[]\n", "not even a warning");

    let _daemon = daemon(folder.path(), &address).await;
    let answer: Value = serde_json::from_str(&shell(folder.path(), curl_of(&told)).await.fine()).unwrap();
    assert!(answer["conversation_id"].as_str().unwrap().starts_with("cnv_"), "{answer}");
    let asked = agent.wait_for(1).await;
    assert!(is_signed(&asked[0], read(&folder.path().join("agent.secret")).trim()));
    let delivered = shop.wait_for(1).await;
    assert_eq!(text_of_delivery(&delivered[0]), "re: When do you open?");
    assert!(is_signed(&delivered[0], read(&folder.path().join("store.secret")).trim()));

    // What it says to call next works as well.
    for line in told.lines().map(str::trim).filter(|line| line.starts_with("frontdesk ") && *line != "frontdesk run") {
        let line = line.replace("frontdesk", env!("CARGO_BIN_EXE_frontdesk"));
        shell(folder.path(), &line).await.fine();
    }
    let admin = read(&folder.path().join("admin.token"));
    let status = client().get(format!("http://{address}/v1/status")).bearer_auth(admin.trim()).send().await.unwrap();
    assert_eq!(status.status(), 200, "the administrator's token opens everything");
    let own = read(&folder.path().join("store.token"));
    let status = client().get(format!("http://{address}/v1/status")).bearer_auth(own.trim()).send().await.unwrap();
    assert_eq!(status.status(), 403, "the channel's does not");
}

#[tokio::test]
async fn what_is_there_is_not_touched_without_force_and_kept_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("channels.toml");
    fs::write(&file, "mine").unwrap();
    let said = run(folder.path(), &["init"]).await.refused(1);
    assert!(said.contains("channels.toml is there already") && said.contains("--force"), "{said}");
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!((read(&file).as_str(), names(folder.path())), ("mine", vec!["channels.toml".to_owned()]));

    run(folder.path(), &["init", "--force"]).await.fine();
    assert_eq!(read(&folder.path().join("channels.toml.old")), "mine");
    let secrets = ["admin.token", "shop.token", "shop.secret", "agent.secret"];
    let before: Vec<String> = secrets.iter().map(|name| read(&folder.path().join(name))).collect();
    let told = run(folder.path(), &["init", "--force"]).await.fine();
    assert_eq!(told.matches("(was there, and is kept)").count(), 4, "{told}");
    let after: Vec<String> = secrets.iter().map(|name| read(&folder.path().join(name))).collect();
    assert_eq!(before, after, "somebody else may know them by now");
    assert!(!names(folder.path()).contains(&"channels.toml.new".to_owned()));

    let said: Value = run(folder.path(), &["init", "--force", "--json"]).await.json();
    assert_eq!((said["made"].clone(), said["kept"].as_array().unwrap().len()), (Value::Array(Vec::new()), 4));
}

#[tokio::test]
async fn whatever_is_asked_for_the_result_passes_the_check() {
    for (arguments, what) in [
        (&["--no-agent"][..], "no agent"),
        (&["--channel", "admin"], "a channel called as a token is"),
        (&["--channel", "agent"], "a channel called as a secret is"),
        (&["--listen", "[::1]:0"], "another address"),
        (&["--agent", "https://bot.example.com/a?b=%22c%22&d='e'"], "an odd address"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &[&["init"], arguments].concat()).await.fine();
        run(folder.path(), &["check"]).await.fine();
        assert!(!read(&folder.path().join("channels.toml")).contains("\n\n\n"), "{what}");
    }
    let folder = tempfile::tempdir().unwrap();
    let told = run(folder.path(), &["init", "--config", "a desk/my file.toml"]).await.fine();
    assert!(told.contains("frontdesk run --config 'a desk/my file.toml'"), "{told}");
    assert!(curl_of(&told).contains("$(cat 'a desk/shop.token')"), "{told}");
    run(folder.path(), &["check", "--config", "a desk/my file.toml"]).await.fine();
    for (arguments, words) in [
        (&["--agent", "ftp://x/"][..], "neither http nor https"),
        (&["--agent", "http://user:secret@x/"], "a user name or password"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let said = run(folder.path(), &[&["init"], arguments].concat()).await.refused(2);
        assert!(said.contains(words), "{said}");
        assert!(!folder.path().join("channels.toml").exists() && !folder.path().join("channels.toml.new").exists());
    }
    for arguments in [["--channel", "Shop"], ["--listen", "8080"], ["--agent", "bot"]] {
        run(folder.path(), &[&["init"][..], &arguments].concat()).await.refused(2);
    }
}

#[tokio::test]
async fn away_from_a_terminal_it_asks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run_with(folder.path(), &["init"], "http://elsewhere.example.com/\nother\n").await;
    assert_eq!(ended.err, "");
    assert!(read(&folder.path().join("channels.toml")).contains("[channels.shop]"));
}

#[tokio::test]
async fn on_a_terminal_it_asks_what_it_was_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = crate::cli_terminal::Terminal::start(program(folder.path(), &["init"]), 100);
    terminal.shows("Where does your agent take events?").await;
    terminal.types("not an address\n");
    terminal.shows("That cannot be used here.").await;
    terminal.types("https://bot.example.com/frontdesk\n");
    terminal.shows("What is the first channel called? [shop]").await;
    terminal.types("\n");
    assert_eq!(terminal.ends().await.code(), Some(0));
    let written = read(&folder.path().join("channels.toml"));
    assert!(written.contains("url = \"https://bot.example.com/frontdesk\"") && written.contains("[channels.shop]"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let said = run(folder.path(), &["init", "--config", "file/channels.toml"]).await.refused(1);
    assert!(said.starts_with("frontdesk: file cannot be written:"), "{said}");
}
