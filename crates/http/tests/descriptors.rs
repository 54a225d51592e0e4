//! Running out of file descriptors is survived. The limit is the process's, so the test runs itself in a second one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::{fs::File, process::Command, time::Duration};

use tokio::net::TcpStream;
use world::{Log, World, soon};

const INNER: &str = "FRONTDESK_TEST_FEW_DESCRIPTORS";
const COMPLAINT: &str = "cannot take connections";

#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    if std::env::var_os(INNER).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run_out());
        return;
    }
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact accepting_goes_on_after_descriptors_ran_out"])
        .arg(std::env::current_exe().unwrap())
        .env(INNER, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

async fn run_out() {
    let log = Log::at(tracing::Level::INFO);
    let _guard = log.record();
    let world = World::new().await;
    // Client and listener share the descriptors. Whichever of them took the last one: with one given back, a connection
    // can be made again and not be accepted.
    let mut spare = vec![File::open("/dev/null").unwrap(), File::open("/dev/null").unwrap()];
    let mut clients = Vec::new();
    soon("the listener runs out", async {
        while !log.text().contains(COMPLAINT) {
            match TcpStream::connect(world.address).await {
                Ok(stream) => clients.push(stream),
                Err(_) => drop(spare.pop()),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(clients.len() > 4, "the limit was reached too early to show anything");
    // Long enough for several tries in vain.
    let _ = tokio::time::timeout(Duration::from_millis(400), std::future::pending::<()>()).await;
    assert_eq!(log.text().matches(COMPLAINT).count(), 1, "said once, not at every try");
    drop((clients, spare));
    assert_eq!(world.get("/healthz", "").await.status, 200);
}
