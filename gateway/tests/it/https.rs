//! HTTP over TLS: real handshakes, client certificates, renewal.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Answer, get, talk};
use crate::desk::Desk;
use crate::gateway::{DEADLINE, Running};

/// An authority, and the folder with what it has issued.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "branch authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("is signed");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("is written");
        Authority { dir, root: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Issues a certificate for this name and use; its PEM files are `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Bank");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("is signed");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("is written");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("is written");
        (certificate.der().clone(), key.into())
    }

    fn server(&self) -> CertificateDer<'static> {
        self.issue("gateway", ExtendedKeyUsagePurpose::ServerAuth).0
    }

    fn setting(&self, rest: &str) -> String {
        let [certificate, key] = ["gateway.pem", "gateway.key"].map(|name| self.path(name));
        format!("http.tls = {{ certificate = {certificate:?}, key = {key:?}{rest} }}\n")
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("is a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("the provider has it")
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).expect("they fit"),
            None => builder.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(client: &TlsConnector, gateway: &Running) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, TcpStream::connect(gateway.http).await.expect("connects")).await
}

async fn ask(client: &TlsConnector, gateway: &Running, path: &str, token: Option<&str>) -> Answer {
    talk(connect(client, gateway).await.expect("a handshake"), &get(path, token, "")).await
}

#[tokio::test]
async fn tokens_travel_by_tls_of_either_version_and_not_without() {
    let (authority, desk) = (Authority::new(), Desk::new());
    authority.server();
    let token = desk.add("viewer");
    let gateway = Running::closed(&(desk.setting() + &authority.setting(""))).await;
    for version in [&TLS12, &TLS13] {
        let client = authority.client(version, None);
        let answer = ask(&client, &gateway, "/api/v1/whoami", Some(&token)).await;
        assert_eq!((answer.status, &answer.body["name"]), (200, &"viewer".into()), "{answer:?}");
        assert_eq!(ask(&client, &gateway, "/api/v1/whoami", None).await.status, 401);
    }
    // Plain HTTP gets no HTTP back.
    let mut plain = TcpStream::connect(gateway.http).await.expect("connects");
    plain.write_all(get("/livez", None, "").as_bytes()).await.expect("is taken");
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, plain.read_to_end(&mut answer)).await.expect("is closed");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Nor does a client that trusts somebody else go on.
    let stranger = Authority::new().client(&TLS13, None);
    assert!(connect(&stranger, &gateway).await.is_err());
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_certificate_is_worth_what_the_configuration_says() {
    let authority = Authority::new();
    authority.server();
    let noc = authority.issue("noc", ExtendedKeyUsagePurpose::ClientAuth);
    let other = authority.issue("somebody", ExtendedKeyUsagePurpose::ClientAuth);
    let forged = Authority::new().issue("noc", ExtendedKeyUsagePurpose::ClientAuth);
    let desk = Desk::new();
    let token = desk.add("viewer");
    let ca = format!(", ca = {:?}, client = \"required\"", authority.path("ca.pem"));
    // Whether RFC 4514 order begins with the name depends on how the certificate was written: the common name is last in it.
    let roles = "auth.certificates = [{ subject = \"CN=noc,O=Bank\", role = \"operator\", terminals = [\"atm-*\"] }]\n";
    let gateway = Running::closed(&(desk.setting() + &authority.setting(&ca) + roles)).await;
    for version in [&TLS12, &TLS13] {
        let client = authority.client(version, Some((noc.0.clone(), noc.1.clone_key())));
        let who = ask(&client, &gateway, "/api/v1/whoami", None).await;
        assert_eq!(
            (who.status, &who.body["role"], &who.body["means"]),
            (200, &"operator".into(), &"certificate".into()),
            "{who:?}"
        );
        assert_eq!(who.body["id"], "CN=noc,O=Bank");
        assert_eq!(ask(&client, &gateway, "/api/v1/tokens", None).await.code(), "forbidden");
        let with_token = ask(&client, &gateway, "/api/v1/whoami", Some(&token)).await;
        assert_eq!(with_token.body["role"], "viewer", "a token goes first: {with_token:?}");
    }
    let unmapped = ask(&authority.client(&TLS13, Some(other)), &gateway, "/api/v1/whoami", None).await;
    assert_eq!((unmapped.status, unmapped.code()), (401, "unauthorised"), "{unmapped:?}");
    let refused = gateway.kinds();
    assert!(refused.iter().any(|kind| kind.contains("gateway.auth_refused")), "{refused:?}");
    // Of another authority: the handshake fails, at the latest when something is read.
    let forged = authority.client(&TLS13, Some(forged));
    if let Ok(mut stream) = connect(&forged, &gateway).await {
        let _ = stream.write_all(get("/livez", None, "").as_bytes()).await;
        let mut answer = Vec::new();
        assert!(stream.read_to_end(&mut answer).await.is_err() && answer.is_empty(), "{answer:?}");
    }
    // This machine's health check needs no certificate.
    assert_eq!(ask(&authority.client(&TLS13, None), &gateway, "/readyz", None).await.status, 200);
    gateway.stop().await;
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain.first().expect("a certificate").clone().into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_never() {
    let authority = Authority::new();
    let first = authority.server();
    let gateway = Running::closed(&authority.setting("")).await;
    let client = authority.client(&TLS13, None);
    let mut old = connect(&client, &gateway).await.expect("a handshake");
    assert_eq!(shown(&old), first);
    std::fs::write(authority.path("gateway.pem"), "no certificate").expect("is written");
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(shown(&connect(&client, &gateway).await.expect("a handshake")), first);
    let second = authority.server();
    let begun = Instant::now();
    while shown(&connect(&client, &gateway).await.expect("a handshake")) != second {
        assert!(begun.elapsed() < DEADLINE);
        sleep(Duration::from_millis(100)).await;
    }
    // What was open stays open.
    old.write_all(get("/livez", None, "").as_bytes()).await.expect("is taken");
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.expect("answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    gateway.stop().await;
}

fn health(config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    let output = command.args(["health", "--config"]).arg(config).output().expect("runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The address by which other machines know this one; where there is no network, loopback.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: the system only says which way it would go.
    match socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr()) {
        Ok(own) => own.ip(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

/// A verb as a person calls it: exit code, what it printed, what it said.
fn verb(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    let output = command.args(arguments).env_remove("VESTIBULE_TOKEN").output().expect("runs");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("is text"));
    (output.status.code(), out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_speaks_tls_and_shows_a_token_or_a_certificate() {
    let (authority, desk) = (Authority::new(), Desk::new());
    authority.server();
    authority.issue("noc", ExtendedKeyUsagePurpose::ClientAuth);
    let file = |name: &str| authority.path(name).into_os_string().into_string().expect("is text");
    let token = file("token");
    std::fs::write(&token, desk.add("admin")).expect("is written");
    let ca = format!(", ca = {:?}", authority.path("ca.pem"));
    let rest = "[[auth.certificates]]\nsubject = \"CN=noc,O=Bank\"\nrole = \"operator\"\n\
                [[terminal]]\nname = \"atm-01\"\nprofile = \"json-lines\"\n";
    let gateway = Running::closed(&(desk.setting() + &authority.setting(&ca) + rest)).await;
    std::fs::write(
        authority.path("vestibule.toml"),
        format!("http.listen = \"{}\"\n{}{}{rest}", gateway.http, desk.setting(), authority.setting(&ca)),
    )
    .expect("is written");
    let http = format!("https://localhost:{}", gateway.http.port());
    let with = |verb: &[&str], rest: &[&str]| -> Vec<String> {
        verb.iter().chain(rest).map(|word| (*word).to_owned()).collect()
    };
    let run = |arguments: Vec<String>| verb(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let (ca, config) = (file("ca.pem"), file("vestibule.toml"));
    let (certificate, key) = (file("noc.pem"), file("noc.key"));
    let listing: &[&str] = &["terminals", "ls"];

    // A token that others may read is sent, and that is said.
    let (code, out, err) = run(with(listing, &["--http", &http, "--ca", &ca, "--token-file", &token]));
    assert!((code, out.contains("atm-01")) == (Some(0), true) && err.contains("chmod 600"), "{code:?} {out} {err}");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("is set");
    let ways: [&[&str]; 3] = [
        &["--http", &http, "--ca", &ca, "--token-file", &token],
        &["--config", &config, "--token-file", &token],
        &["--http", &http, "--ca", &ca, "--client-certificate", &certificate, "--client-key", &key],
    ];
    for way in ways {
        let (code, out, err) = run(with(listing, way));
        assert_eq!((code, out.contains("atm-01"), err.as_str()), (Some(0), true, ""), "{way:?}: {out}");
        // The gateway's own words: the terminal has no link for commands.
        let (code, _, err) = run(with(&["command", "atm-01", "counters"], way));
        assert!(code == Some(69) && err.contains("no link of this terminal"), "{way:?}: {code:?} {err}");
    }
    for way in [ways[0], ways[2]] {
        let (code, out, err) = run(with(&["events", "--limit", "1", "--json"], way));
        assert!(code == Some(0) && out.contains("\"kind\""), "{way:?}: {code:?} {err}");
    }
    for (rest, code, words) in [
        (vec!["--http", http.as_str()], 64, "--ca FILE"),
        (vec!["--http", &http, "--ca", &certificate], 69, "invalid peer certificate"),
        (vec!["--http", &http, "--ca", &ca], 77, "this needs a token"),
        (vec!["--http", &http, "--ca", &ca, "--client-key", &key], 64, "--client-certificate"),
    ] {
        let (found, _, err) = run(with(listing, &rest));
        assert!(found == Some(code) && err.contains(words), "{rest:?}: {found:?} {err}");
    }
    assert_eq!(run(with(&["health", "--http", &http, "--ca", &ca], &[])), (Some(0), String::new(), String::new()));

    // The stream: what happens after it has begun.
    let mut follow = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    let mut follow = follow
        .args(with(&["events", "--follow", "--limit", "1", "--json"], ways[0]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().is_some(), "what was before");
    desk.add("teller");
    let told = tokio::task::spawn_blocking(move || {
        lines.map_while(Result::ok).any(|line| line.contains("gateway.token_added"))
    });
    let told = timeout(DEADLINE, told).await;
    // Whoever still reads from it hears its end.
    follow.kill().expect("is ended");
    follow.wait().expect("ended");
    assert!(told.expect("in time").expect("no panic"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_known_by_the_address_that_others_use() {
    let (authority, desk) = (Authority::new(), Desk::new());
    authority.server();
    let ca = format!(", ca = {:?}, client = \"required\"", authority.path("ca.pem"));
    let free = std::net::TcpListener::bind((own_address(), 0)).expect("a port").local_addr().expect("an address");
    let setting = desk.setting() + &authority.setting(&ca);
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = crate::gateway::config(dir.path(), &setting);
    settings.http.listen = free;
    let gateway = Running::begin(dir, settings).await;
    let config = authority.path("vestibule.toml");
    std::fs::write(&config, format!("http.listen = \"{free}\"\n{setting}")).expect("is written");
    assert_eq!(health(&config), (Some(0), String::new()));
    // Nobody is let in for it: what is not health asks for a token.
    assert_eq!(ask(&authority.client(&TLS13, None), &gateway, "/api/v1/whoami", None).await.status, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_knows_the_gateways_certificate() {
    let authority = Authority::new();
    authority.server();
    let ca = format!(", ca = {:?}, client = \"required\"", authority.path("ca.pem"));
    let gateway = Running::closed(&authority.setting(&ca)).await;
    let config = authority.path("vestibule.toml");
    let text = format!("http.listen = \"{}\"\n{}", gateway.http, authority.setting(&ca));
    std::fs::write(&config, text).expect("is written");
    assert_eq!(health(&config), (Some(0), String::new()));
    // Another's certificate at the same place is not this gateway.
    authority.server();
    let (code, said) = health(&config);
    assert_eq!(code, Some(69), "{said}");
    gateway.stop().await;
}
