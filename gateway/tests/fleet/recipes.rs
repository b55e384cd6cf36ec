//! The brokers' recipes of `docs/fleet`, as they stand there: only addresses, folders and the number of branches change.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::broker::{Cluster, Node};
use crate::certificates::Authority;
use crate::client::{Client, files};
use crate::host;
use crate::process::{Process, free_ports};
use crate::python::docs;

/// Who reads all branches.
pub(crate) const READER: &str = "reader";
pub(crate) const READERS_PASSWORD: &str = "change-me-too";
/// Who gives commands.
pub(crate) const COMMANDER: &str = "commander";
/// Who may hear everything, in mosquitto and in tests alone.
pub(crate) const JUDGE: &str = "judge";
const NODES: u8 = 3;

/// The site of gateway `n`, and the user that it is to the broker.
pub(crate) fn site(n: usize) -> String {
    format!("branch-{n:03}")
}

/// Its password.
pub(crate) fn branch_password(n: usize) -> String {
    format!("{}-of-it", site(n))
}

/// Branch `n` as somebody with its login.
pub(crate) fn branch(broker: SocketAddr, version: &str, n: usize) -> Client {
    Client::new(broker, version, &site(n), &branch_password(n))
}

/// A server's port for gateways.
fn port(tls: Option<&Authority>) -> u16 {
    if tls.is_some() { 8883 } else { 1883 }
}

/// The server's certificate, for its address, where its recipe expects it.
fn certify(tls: Option<&Authority>, folder: &Path, n: u8) {
    if let Some(authority) = tls {
        let [ca, ..] = files(authority, folder, "server", &host(n).to_string());
        std::fs::rename(ca, folder.join("gateways-ca.pem")).unwrap();
    }
}

fn recipe(name: &str) -> String {
    std::fs::read_to_string(docs("fleet").join(name)).unwrap()
}

/// The recipe with its words replaced by those of this machine; each must stand in it.
fn with(name: &str, changes: &[(&str, String)]) -> String {
    let mut text = recipe(name);
    for (word, here) in changes {
        assert!(text.contains(word), "{name} has no {word}");
        text = text.replace(word, here);
    }
    text
}

/// A server's program. Debian installs it where only root's search path looks.
fn server(name: &str) -> Command {
    let usual = Path::new("/usr/sbin").join(name);
    Command::new(if usual.exists() { usual } else { name.into() })
}

/// Three NATS servers, with TLS where there is an authority.
pub(crate) async fn nats(dir: &Path, branches: usize, tls: Option<&Authority>) -> Cluster {
    let folders: Vec<_> = (1..=NODES).map(|n| (n, dir.join(format!("nats-{n}")))).collect();
    let users = recipe("nats-users.conf");
    // The blocks of one branch, for each of them.
    let (front, rest) = users.split_once("    { user: \"branch-001\"").expect("a branch's block");
    let (block, rest) = rest.split_once("\n\n").expect("its end");
    let block = format!("    {{ user: \"branch-001\"{block}\n\n");
    let blocks: String = (0..branches)
        .map(|n| block.replace("branch-001", &site(n)).replace("\"change-me\"", &format!("\"{}\"", branch_password(n))))
        .collect();
    let mut users = format!("{front}{blocks}{rest}");
    // As the recipe says: who shows a certificate has no password.
    while let Some((before, (_, after))) = users
        .split_once(", password: \"")
        .filter(|_| tls.is_some())
        .and_then(|(before, rest)| Some((before, rest.split_once('"')?)))
    {
        users = format!("{before}{after}");
    }
    let routes: Vec<String> = (1..=NODES).map(|n| format!("nats://{}:6222", host(n))).collect();
    let routes = format!("[{}]", routes.join(", "));
    let mut nodes = Vec::new();
    for (n, folder) in folders {
        std::fs::create_dir(&folder).unwrap();
        let tls_here = if tls.is_some() { "  include nats-tls.conf" } else { "" };
        std::fs::write(
            folder.join("nats.conf"),
            with("nats.conf", &[("  # include nats-tls.conf", tls_here.to_owned())]),
        )
        .unwrap();
        let here = format!("{}/", folder.display());
        std::fs::write(folder.join("nats-tls.conf"), with("nats-tls.conf", &[("/etc/nats/", here)])).unwrap();
        certify(tls, &folder, n);
        std::fs::write(folder.join("nats-users.conf"), &users).unwrap();
        let (routes, at, port) = (routes.clone(), folder.clone(), port(tls));
        let command = move || {
            let mut command = server("nats-server");
            command.arg("--config").arg(at.join("nats.conf"));
            command.env("VESTIBULE_NODE", format!("nats-{n}")).env("VESTIBULE_DIR", at.join("data"));
            command.env("VESTIBULE_HOST", host(n).to_string()).env("VESTIBULE_ROUTES", &routes);
            command.env("VESTIBULE_MQTT", port.to_string());
            command.envs([("VESTIBULE_CLIENTS", "4222"), ("VESTIBULE_CLUSTER", "6222")]);
            command
        };
        nodes.push(Node::start("nats-server", &folder, SocketAddr::from((host(n), port)), command));
    }
    for node in &mut nodes {
        node.listens().await;
    }
    Cluster { nodes, _beneath: None }
}

/// So many of three RabbitMQ servers, with TLS where there is an authority, and the name server of their virtual machines.
pub(crate) async fn rabbitmq(dir: &Path, branches: usize, nodes: u8, tls: Option<&Authority>) -> Cluster {
    let names = free_ports::<1>()[0].port().to_string();
    let mut epmd = Command::new("epmd");
    let hosts: Vec<String> = (1..=NODES).map(|n| host(n).to_string()).collect();
    epmd.args(["-port", &names]).env("ERL_EPMD_ADDRESS", hosts.join(","));
    let beneath = Some(Process::start("epmd", epmd, dir));
    // All of them share a home, and so the word that lets them in with one another.
    let home = dir.join("home");
    std::fs::create_dir(&home).unwrap();
    let definitions = dir.join("definitions.json");
    std::fs::write(&definitions, rabbitmq_definitions(branches)).unwrap();
    let config = with(
        "rabbitmq.conf",
        &[
            ("rabbit@broker-1", rabbit(1)),
            ("rabbit@broker-2", rabbit(2)),
            ("rabbit@broker-3", rabbit(3)),
            ("= 5672", "= HOST:5672".to_owned()),
            ("= 1883", "= HOST:1883".to_owned()),
            ("/etc/rabbitmq/definitions.json", definitions.display().to_string()),
        ],
    );
    let all = 1..=nodes;
    let mut nodes = Vec::new();
    for n in all {
        let folder = dir.join(format!("rabbit-{n}"));
        std::fs::create_dir(&folder).unwrap();
        certify(tls, &folder, n);
        let mut config = config.clone();
        if tls.is_some() {
            let here = ("/etc/rabbitmq/", format!("{}/", folder.display()));
            config += &with("rabbitmq-tls.conf", &[here, ("= 8883", "= HOST:8883".to_owned())]);
        }
        std::fs::write(folder.join("rabbitmq.conf"), config.replace("HOST", &host(n).to_string())).unwrap();
        std::fs::write(folder.join("enabled_plugins"), "[rabbitmq_mqtt].\n").unwrap();
        let (home, names, at) = (home.clone(), names.clone(), folder.clone());
        let command = move || rabbitmq_server(&home, &names, &at, n);
        let mut node = Node::start("rabbitmq", &folder, SocketAddr::from((host(n), port(tls))), command);
        // The first has to be there for the others to join it.
        if n == 1 {
            node.listens().await;
        }
        nodes.push(node);
    }
    for node in &mut nodes {
        node.listens().await;
    }
    Cluster { nodes, _beneath: beneath }
}

/// The name of a node. On machines of their own they may share the part before the `@`.
fn rabbit(n: u8) -> String {
    format!("rabbit-{n}@{}", host(n))
}

fn rabbitmq_server(home: &Path, names: &str, dir: &Path, n: u8) -> Command {
    let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let interface = host(n).to_string().replace('.', ",");
    // Without busy waiting: other nodes and gateways are on the same cores.
    let arguments = format!("+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {{{interface}}}");
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command.env("HOME", home).env("ERL_EPMD_PORT", names).env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
    command.env("RABBITMQ_NODENAME", rabbit(n)).env("RABBITMQ_USE_LONGNAME", "true");
    command
        .env("RABBITMQ_DIST_PORT", (25_671 + u16::from(n)).to_string())
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"));
    command.env("RABBITMQ_CONF_ENV_FILE", dir.join("none")).env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("none"));
    command
        .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"));
    command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_LOG_BASE", dir).env("ERL_CRASH_DUMP_BYTES", "0").current_dir(dir);
    // As under systemd: the script becomes the server, so that a kill of the one is a kill of the other.
    command.env("NOTIFY_SOCKET", dir.join("nobody"));
    command
}

/// The definitions, with the rows of the one branch for each of them.
fn rabbitmq_definitions(branches: usize) -> String {
    let mut definitions: Value = serde_json::from_str(&recipe("rabbitmq-definitions.json")).unwrap();
    for table in ["users", "permissions", "topic_permissions"] {
        let rows = definitions[table].as_array_mut().unwrap();
        let of_one: Vec<String> = rows.iter().map(Value::to_string).filter(|row| row.contains("branch-001")).collect();
        rows.retain(|row| !row.to_string().contains("branch-001"));
        for n in 0..branches {
            for row in &of_one {
                let row = row.replace("branch-001", &site(n)).replace("gw-001", &format!("gw-{n:03}"));
                let mut row: Value = serde_json::from_str(&row).unwrap();
                if table == "users" {
                    row["password"] = json!(branch_password(n));
                }
                rows.push(row);
            }
        }
    }
    definitions.to_string()
}

/// One mosquitto, with TLS where there is an authority.
pub(crate) async fn mosquitto(dir: &Path, branches: usize, tls: Option<&Authority>) -> Node {
    let folder = dir.join("mosquitto");
    std::fs::create_dir(&folder).unwrap();
    let here = format!("{}/", folder.display());
    let listener = match tls {
        None => format!("listener 1883 {}", host(1)),
        Some(_) => {
            let listen = ("listener 8883", format!("listener 8883 {}", host(1)));
            with("mosquitto-tls.conf", &[listen, ("/etc/mosquitto/", here.clone())])
        }
    };
    certify(tls, &folder, 1);
    let config = with(
        "mosquitto.conf",
        &[
            ("\nlistener 1883", format!("\nuser root\n{listener}")),
            ("/var/lib/mosquitto/", here.clone()),
            ("/etc/mosquitto/", here),
        ],
    );
    std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
    let acl = recipe("mosquitto.acl");
    let (all, of_one) = acl.split_once("user branch-001-relay").expect("a branch's block");
    let of_one = |n: usize| format!("user branch-001-relay{of_one}\n").replace("branch-001", &site(n));
    let each: String = (0..branches).map(of_one).collect();
    std::fs::write(folder.join("vestibule.acl"), format!("{all}{each}\nuser {JUDGE}\ntopic read #\n")).unwrap();
    let passwords = folder.join("vestibule.passwords");
    std::fs::write(&passwords, "").unwrap();
    let logins = (0..branches).map(|n| (site(n), branch_password(n)));
    let others = [READER, COMMANDER, JUDGE].map(|user| (user.to_owned(), READERS_PASSWORD.to_owned()));
    for (user, password) in logins.chain(others) {
        let status = Command::new("mosquitto_passwd").arg("-b").arg(&passwords).args([user, password]).status();
        assert!(status.unwrap().success());
    }
    let command = move || {
        let mut command = server("mosquitto");
        command.arg("-c").arg(folder.join("mosquitto.conf"));
        command
    };
    let mut node = Node::start("mosquitto", &dir.join("mosquitto"), SocketAddr::from((host(1), port(tls))), command);
    node.listens().await;
    node
}
