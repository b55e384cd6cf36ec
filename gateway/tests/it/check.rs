//! `vestibule check`: it says good where `run` would run, and names what is in the way.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::gateway::free_port;
use crate::process::Process;

fn check(file: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule")).args(["check", "--config"]).arg(file).output();
    let Output { status, stdout, stderr } = output.expect("runs");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn ports_that_others_have_are_named_and_what_may_be_plugged_in_is_a_warning() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("vestibule.toml");
    let others = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = others.local_addr().expect("an address");
    let write = |http: std::net::SocketAddr, link: &str| {
        let data = dir.path().join("data");
        let text = format!(
            "log.dir = {data:?}\nhttp.listen = '{http}'\n[[terminal]]\nname = 'atm'\nprofile = 'json-lines'\n\
             link = [{{ name = 'json', protocol = 'jsonl', {link} }}]\n"
        );
        std::fs::write(&file, text).expect("is written");
    };
    for (http, link, code, said) in [
        (free_port(), format!("listen = '{}'", free_port()), 0, ": good".to_owned()),
        (taken, format!("listen = '{}'", free_port()), 69, format!("http.listen: cannot listen on {taken}")),
        (free_port(), format!("listen = '{taken}'"), 69, "terminal[0].link[0].listen: cannot listen on".to_owned()),
        (free_port(), format!("listen = '0.0.0.0:{}'", taken.port()), 69, "link[0].listen: cannot listen".to_owned()),
        (taken, format!("listen = '0.0.0.0:{}'", taken.port()), 78, "cannot be had beside".to_owned()),
        (free_port(), "serial = '/dev/nowhere'".to_owned(), 0, "warning: terminal[0].link[0].serial".to_owned()),
    ] {
        write(http, &link);
        let (ended, words) = check(&file);
        assert_eq!(ended, Some(code), "{link}: {words}");
        assert!(words.contains(&said), "{said} not in {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_of_a_gateway_that_runs_are_its_own() {
    let link = free_port();
    let gateway = Process::start(&format!(
        "[[terminal]]\nname = 'atm'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{link}' }}]\n"
    ))
    .await;
    let (ended, words) = check(&gateway.dir().join("vestibule.toml"));
    assert_eq!(ended, Some(0), "{words}");
    assert!(words.contains("warning: http.listen: ") && words.contains(": good\n"), "{words}");
    let dir = gateway.stop().await;
    let (ended, words) = check(&dir.path().join("vestibule.toml"));
    assert_eq!((ended, words.contains("warning")), (Some(0), false), "{words}");
}
