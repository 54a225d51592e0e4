//! Delivery of updates to the address that `setWebhook` was given, and the plain HTTP client for it.
//!
//! So many workers as `max_connections` says, each with one update under way. What is not answered with 2xx stays in the
//! queue and is tried again; the next update of a single connection waits for it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Inner, state::now};

const ANSWER_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn worker(inner: Arc<Inner>, generation: u64) {
    loop {
        let news = inner.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let next = {
            let mut state = inner.state.lock().unwrap();
            if state.hook_generation != generation {
                return;
            }
            let free = state.updates.iter().find(|(id, _)| !state.in_flight.contains(id)).cloned();
            if let Some((id, _)) = &free {
                state.in_flight.insert(*id);
            }
            free.zip(state.webhook.clone()).map(|((id, update), hook)| (id, update, hook, state.hook_retry))
        };
        let Some((id, update, hook, retry)) = next else {
            news.await;
            continue;
        };
        let mut headers = vec![("Content-Type", "application/json")];
        if let Some(secret) = &hook.secret {
            headers.push(("X-Telegram-Bot-Api-Secret-Token", secret));
        }
        let answered =
            tokio::time::timeout(ANSWER_WITHIN, request("POST", &hook.url, &headers, update_bytes(&update).as_bytes()))
                .await;
        let wrong = match answered {
            Ok(Ok((200..=299, _))) => None,
            Ok(Ok((status, _))) => Some(format!("Wrong response from the webhook: {status}")),
            Ok(Err(_)) => Some("Connection refused".to_owned()),
            Err(_) => Some("Read timeout expired".to_owned()),
        };
        {
            let mut state = inner.state.lock().unwrap();
            if state.hook_generation != generation {
                return;
            }
            state.in_flight.remove(&id);
            match &wrong {
                None => state.updates.retain(|(queued, _)| *queued != id),
                Some(wrong) => {
                    if let Some(hook) = &mut state.webhook {
                        hook.last_error = Some((now(), wrong.clone()));
                    }
                }
            }
        }
        if wrong.is_some() {
            tokio::time::sleep(retry).await;
        }
        inner.news.notify_waiters();
    }
}

fn update_bytes(update: &Value) -> String {
    update.to_string()
}

/// One exchange on a connection of its own: status and body. Only `http` addresses.
pub(super) async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let broken = || std::io::Error::other("not an HTTP exchange");
    let rest = url.strip_prefix("http://").ok_or_else(broken)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut whole = head.into_bytes();
    whole.extend_from_slice(body);
    stream.write_all(&whole).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let ends = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let content = answer.get(ends + 4..).unwrap_or_default().to_vec();
    Ok((status.ok_or_else(broken)?, content))
}
