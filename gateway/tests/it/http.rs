//! Health and figures over HTTP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::Running;

pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("is text");
    answer
}

#[tokio::test]
async fn a_running_gateway_is_live_ready_and_measured() {
    let gateway = Running::start("").await;
    for path in ["/livez", "/readyz"] {
        assert!(get(gateway.http, path).await.starts_with("HTTP/1.1 200 OK"), "{path}");
    }
    let metrics = get(gateway.http, "/metrics").await;
    assert!(metrics.contains("\nvestibule_log_appended_events 1\n"), "{metrics}");
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    let missing = get(gateway.http, "/accounts").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains(r#""code":"not_found""#), "{missing}");
    gateway.stop().await;
}
