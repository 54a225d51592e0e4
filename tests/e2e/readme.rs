//! What the README tells people to run and to write, as it stands there; only ports are others.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use frontdesk_testkit::{
    chat::{self, Asked, Rules},
    daemon::Site,
    far_end::FarEnd,
};
use serde_json::Value;

use crate::world::{World, message, sections, takes, text_of_delivery};

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The README's blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let opened = format!("```{language}\n");
    readme.split(&opened).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_agent_of_the_readme_answers() {
    let program = blocks("python").swap_remove(0);
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(program.contains("8081"), "the port of the shipped configuration");
    let program = program.replace("8081", &address.port().to_string());
    let child = Command::new("python3")
        .args(["-c", &program])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is installed");
    let _agent = Program(child);

    let mut world = World::of(FarEnd::start(takes).await, FarEnd::start(takes).await);
    world.site.reconfigure(&sections(&format!("http://{address}/"), &world.shop.url(), ""));
    // Should the agent come up after the daemon, the message waits for it.
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "You said: hello");
}

#[tokio::test]
async fn the_language_model_of_the_readme_answers() {
    let rules = Rules::of("the-model").with_key("sk-from-the-environment");
    let model = FarEnd::start(rules.answering(|asked| chat::text(&format!("re: {}", asked.last_said())))).await;
    let written = blocks("toml").swap_remove(0);
    let url = "https://models.example.com/";
    assert!(written.contains(url));
    let site = Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap();
    let site = site.with(&written.replace(url, &model.url())).with_env("MODEL_KEY", "sk-from-the-environment");
    let _daemon = site.start().await.unwrap();
    let key = read(&site.data().join("shop.token"));
    let http = crate::world::client();
    let path = site.url("/v1/channels/shop/messages");
    let answer =
        http.post(path).bearer_auth(key.trim()).body(message("t", "1", "hello").to_string()).send().await.unwrap();
    let conversation = answer.json::<Value>().await.unwrap()["conversation_id"].as_str().unwrap().to_owned();
    let path = site.url(&format!("/v1/conversations/{conversation}/messages"));
    until("an answer that can be fetched", || {
        let asked = http.get(&path).bearer_auth(key.trim()).send();
        async { asked.await.unwrap().json::<Value>().await.unwrap()["data"][0]["text"] == "re: hello" }
    })
    .await;
    assert!(Asked::of(&model.requests()[0]).system().starts_with("You answer for a bicycle shop"));
    assert!(!site.data().join("agent.secret").exists(), "nothing is signed for a model");
}

#[tokio::test]
async fn the_try_it_command_answers_the_curl_lines_of_the_readme() {
    let commands = blocks("sh");
    assert_eq!(commands[0].trim(), "cargo run --release --example first_light");
    // Three ports that no other test uses.
    let places: Vec<Site> = (0..3).map(|_| Site::new("unused").unwrap()).collect();
    let [api, agent, far_end] = [0, 1, 2].map(|at: usize| places[at].address());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(repository().join("channels.toml"), folder.path().join("channels.toml")).unwrap();
    let printed = folder.path().join("printed");
    let child = Command::new(example("first_light"))
        .current_dir(folder.path())
        .env("FRONTDESK__SERVER__LISTEN", api.to_string())
        .env("FRONTDESK__AGENT__URL", format!("http://{agent}/"))
        .env("FRONTDESK__CHANNELS__SHOP__DELIVER_URL", format!("http://{far_end}/"))
        .stdout(File::create(&printed).unwrap())
        .stderr(File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut example = Program(child);
    let http = crate::world::client();
    until("the example is ready", || {
        let asked = http.get(format!("http://{api}/readyz")).send();
        assert!(example.0.try_wait().unwrap().is_none(), "it ended: {}", read(&folder.path().join("log")));
        async { asked.await.is_ok_and(|answer| answer.status() == 200) }
    })
    .await;
    assert!(read(&printed).contains(&format!("curl -s http://{api}/v1/channels/shop/messages")), "says how to try");

    let answers = shell(&commands[1].replace("127.0.0.1:8080", &api.to_string()), folder.path());
    let conversation = answers[0]["conversation_id"].as_str().expect("the first line is answered").to_owned();
    assert_eq!(answers[1]["data"][0]["id"], conversation.as_str());
    until("the far end prints the reply", || {
        let text = read(&printed);
        async move { text.contains("9 to 17") }
    })
    .await;
    let line = format!("KEY=$(cat data/shop.token)\nCONVERSATION_ID={conversation}\n{}", commands[2]);
    let messages = shell(&line.replace("127.0.0.1:8080", &api.to_string()), folder.path());
    assert_eq!(messages[0]["data"].as_array().unwrap().len(), 2, "{messages:?}");
}

/// Runs lines of a shell; every JSON that they print.
fn shell(lines: &str, folder: &Path) -> Vec<Value> {
    let out = Command::new("bash").args(["-euc", lines]).current_dir(folder).output().expect("bash is installed");
    assert!(out.status.success(), "{lines}\n{}", String::from_utf8_lossy(&out.stderr));
    serde_json::Deserializer::from_slice(&out.stdout).into_iter().map(Result::unwrap).collect()
}

/// An example's program, built as this test was.
fn example(name: &str) -> PathBuf {
    let profile = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_owned();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--offline", "-p", "frontdesk", "--example", name]).current_dir(repository());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the example does not build");
    profile.join("examples").join(name)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !look().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
