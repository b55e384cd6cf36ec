//! A serial line as it is in a branch: noise on it, and a plug that is pulled and put back.

use std::os::unix::fs::symlink;

use vestibule::event::Kind;
use vestibule::simulate::journal::Printer;

use crate::gateway::{Running, Source, free_port};

/// A gateway with a journal printer on `device`, and a second terminal beside it.
async fn gateway(device: &std::path::Path, json: std::net::SocketAddr) -> Running {
    Running::start(&format!(
        r#"
        [[terminal]]
        name = "printer"
        profile = "ncr-journal"
        link = [{{ name = "journal", protocol = "journal", serial = {device:?}, baud = 115200 }}]
        [[terminal]]
        name = "beside"
        profile = "json-lines"
        link = [{{ name = "json", protocol = "jsonl", listen = "{json}" }}]
        "#
    ))
    .await
}

/// Bytes of every value, in no order, without a line end in more than `longest` of them.
fn noise(count: usize, longest: usize) -> Vec<u8> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes: Vec<u8> = Vec::with_capacity(count);
    while bytes.len() < count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes.extend(random.to_le_bytes());
    }
    bytes.chunks_mut(longest).for_each(|chunk| chunk[0] = b'\r');
    bytes
}

#[tokio::test]
async fn noise_is_said_and_survived_and_disturbs_nobody() {
    let (printer, json) = (Printer::open().expect("a pty"), free_port());
    let gateway = gateway(printer.path(), json).await;
    let mut beside = Source::connect(json).await;
    let says = async {
        // A second of it at this speed.
        printer.print(&noise(11_520, 300)).await.expect("prints");
        printer.print(b"\r10:00:00 SUPERVISOR MODE ENTRY\r").await.expect("prints");
    };
    let hears = async {
        for _ in 0..50 {
            beside.say(b"{\"kind\":\"txn.started\"}\n").await;
            assert!(beside.answer().await.expect("an answer")["seq"].is_u64());
        }
    };
    tokio::join!(says, hears);
    let entered = gateway.kind(Kind::ModeSupervisorEntered).await;
    assert_eq!(entered.event.terminal, "printer");
    let noisy = gateway
        .event("a word about the noise", |stored| {
            matches!(stored.event.kind, Kind::ProtocolError | Kind::JournalUnparsed)
        })
        .await;
    assert_eq!(noisy.event.terminal, "printer");
    gateway.stop().await;
}

#[tokio::test]
async fn an_unplugged_port_is_lost_and_found_again_by_its_name() {
    let by_id = tempfile::tempdir().expect("temp dir");
    let device = by_id.path().join("usb-journal");
    let printer = Printer::open().expect("a pty");
    symlink(printer.path(), &device).expect("links");
    let gateway = gateway(&device, free_port()).await;
    printer.print(b"10:00:00 SUPERVISOR MODE ENTRY\r").await.expect("prints");
    gateway.kind(Kind::ModeSupervisorEntered).await;

    std::fs::remove_file(&device).expect("unlinks");
    drop(printer);
    let lost = gateway.kind(Kind::CommsLost).await;
    assert_eq!(lost.event.terminal, "printer");

    let printer = Printer::open().expect("a pty");
    symlink(printer.path(), &device).expect("links");
    let back = gateway
        .event("comms.restored", |stored| stored.seq > lost.seq && stored.event.kind == Kind::CommsRestored)
        .await;
    printer.print(b"10:05:00 SUPERVISOR MODE EXIT\r").await.expect("prints");
    let exited = gateway.kind(Kind::ModeSupervisorExited).await;
    assert!(exited.seq > back.seq);
    gateway.stop().await;
}
