//! What the README tells people to write, run as it stands there.

use std::process::{Child, Command, Stdio};

use frontdesk_testkit::far_end::FarEnd;

use crate::world::{World, sections, takes, text_of_delivery};

/// Ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_agent_of_the_readme_answers() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let program = readme.split("```python\n").nth(1).expect("a Python program").split("```").next().unwrap();
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(program.contains("8081"), "the port of the shipped configuration");
    let program = program.replace("8081", &address.port().to_string());
    let child = Command::new("python3")
        .args(["-c", &program])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is installed");
    let _agent = Agent(child);

    let mut world = World::of(FarEnd::start(takes).await, FarEnd::start(takes).await);
    world.site.reconfigure(&sections(&format!("http://{address}/"), &world.shop.url(), ""));
    // Should the agent come up after the daemon, the message waits for it.
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "You said: hello");
}
