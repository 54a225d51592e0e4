//! A full disk: nothing new is taken and the sender is told to come again; what is in hand is settled; with space again
//! everything goes on. On a small disk of its own, which takes the right to mount: root's, or a user namespace.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use frontdesk_testkit::{daemon::Site, far_end::FarEnd};
use reqwest::StatusCode;

use crate::world::{World, client, echo, gate, gated, sections, takes, text_of_delivery};

const SELF: &str = "full_disk::a_full_disk_refuses_new_messages_settles_what_is_in_hand_and_goes_on_with_space";
const INSIDE: &str = "FRONTDESK_TEST_IN_NAMESPACE";

/// A disk of a few megabytes; gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(at).output();
        match out {
            Ok(out) if out.status.success() => Ok(Self(at.to_owned())),
            Ok(out) => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_messages_settles_what_is_in_hand_and_goes_on_with_space() {
    let folder = tempfile::tempdir().unwrap();
    match SmallDisk::mount(folder.path()) {
        Ok(disk) => on(&disk).await,
        Err(why) if std::env::var_os(INSIDE).is_some() => panic!("no disk can be mounted: {why}"),
        // Without the right to mount, once more where we are root of a namespace.
        Err(_) => {
            let status = Command::new("unshare")
                .arg("-rm")
                .arg(std::env::current_exe().unwrap())
                .args([SELF, "--exact", "--nocapture"])
                .env(INSIDE, "1")
                .status()
                .expect("unshare is installed");
            assert!(status.success(), "neither root's mount nor a user namespace, or the test failed there");
        }
    }
}

async fn on(disk: &SmallDisk) {
    let gate = gate();
    let (agent, shop) = (gated(&gate, &crate::world::gate(), echo).await, FarEnd::start(takes).await);
    let site = Site::at(env!("CARGO_BIN_EXE_frontdesk"), &disk.0)
        .unwrap()
        .with_store("min_free = \"4 MB\"")
        .with(&sections(&agent.url(), &shop.url(), ""));
    let world = World { site, agent, shop, http: client() };
    let mut daemon = world.start().await;
    let conversation = world.say("in-hand", "1", "in hand").await;
    world.agent.wait_for(1).await;

    disk.fill();
    let mut taken = vec!["re: in hand".to_owned()];
    let refused = loop {
        let words = format!("while filling {}", taken.len());
        let answer = world.post(&format!("t{}", taken.len()), "1", &words).await.unwrap();
        match answer.status() {
            // It fitted into what the store had; then it is kept like any other.
            StatusCode::ACCEPTED => taken.push(format!("re: {words}")),
            _ => break answer,
        }
        assert!(taken.len() < 1000, "a full disk takes everything");
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let ready = world.http.get(world.site.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    gate.add_permits(10_000);
    let path = format!("/v1/conversations/{conversation}/messages");
    world.get_until(&path, "the answer in hand is stored", |page| page["data"][0]["direction"] == "outbound").await;

    disk.free();
    daemon.ready().await.unwrap();
    world.say("after", "1", "after").await;
    taken.push("re: after".into());
    taken.sort();
    world.shop.wait_for(taken.len()).await;
    // What was refused left no trace; a kill and a start show that what was taken is really there.
    daemon.kill().await.unwrap();
    let mut daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
    let mut delivered: Vec<_> = world.shop.requests().iter().map(text_of_delivery).collect();
    delivered.sort();
    delivered.dedup();
    assert_eq!(delivered, taken);
}
