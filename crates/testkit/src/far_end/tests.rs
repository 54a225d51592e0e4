use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// Sends one plain request and reads until the connection ends.
async fn ask(far_end: &FarEnd, path: &str) -> (Vec<u8>, std::io::Result<usize>) {
    let mut stream = TcpStream::connect(far_end.addr()).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await;
    (answer, ended)
}

#[tokio::test]
async fn answers_by_request_and_records_in_order() {
    let far_end = FarEnd::start(|request| Reply::text(if request.path == "/a" { 200 } else { 404 }, "ok")).await;
    assert!(ask(&far_end, "/a").await.0.starts_with(b"HTTP/1.1 200"));
    assert!(ask(&far_end, "/b?c").await.0.starts_with(b"HTTP/1.1 404"));
    let paths: Vec<String> = far_end.wait_for(2).await.into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/a", "/b?c"]);
    assert_eq!(far_end.requests().first().unwrap().body, "hi");
}

#[tokio::test]
async fn close_ends_without_an_answer_and_reset_is_an_error() {
    let far_end = FarEnd::start(|request| if request.path == "/reset" { Reply::reset() } else { Reply::close() }).await;
    let (answer, ended) = ask(&far_end, "/close").await;
    assert!(answer.is_empty() && ended.is_ok(), "{ended:?}");
    let (answer, ended) = ask(&far_end, "/reset").await;
    assert!(answer.is_empty());
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(far_end.count(), 2);
}

#[tokio::test]
async fn a_body_drips_whole_and_breaks_off_where_it_is_told() {
    let far_end = FarEnd::start(|request| match request.path.as_str() {
        "/drip" => Reply::text(200, "abcdef").drip(2, Duration::from_millis(1)),
        _ => Reply::text(200, "abcdef").break_off_after(4),
    })
    .await;
    let (answer, _) = ask(&far_end, "/drip").await;
    assert!(answer.ends_with(b"\r\n\r\nabcdef"));
    let (answer, _) = ask(&far_end, "/broken").await;
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("content-length: 6"), "{text}");
    assert!(text.ends_with("\r\n\r\nabcd"), "{text}");
}

#[tokio::test]
async fn a_client_that_gives_up_counts_no_longer() {
    let far_end = FarEnd::start(|_| Reply::hang()).await;
    for count in 1..=2 {
        let mut stream = TcpStream::connect(far_end.addr()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        far_end.wait_for(count).await;
        drop(stream);
        // The far end notices by itself; there is nothing to wait on but its count.
        let noticed = async {
            while far_end.record.at_once.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), noticed).await.unwrap();
    }
    assert_eq!(far_end.most_at_once(), 1);
}
