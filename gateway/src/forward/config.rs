//! The forwarder's part of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::Batching;
use super::lanes::Order;
use super::topic;
use crate::mqtt::{Address, Broker, Tls, Version};

/// Longest pause between connections, in milliseconds: an hour.
const LONGEST_PAUSE_MS: u64 = 3_600_000;
/// Longest time for which what the broker does not allow is tried again, in seconds: thirty days.
const LONGEST_REFUSAL_S: u64 = 30 * 24 * 3600;
/// Longest time for which an event waits for company, in milliseconds: a minute.
const LONGEST_WAIT_MS: u64 = 60_000;

/// Settings of the connection to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Host name or address of the broker. Default `127.0.0.1`.
    pub host: String,
    /// TCP port of the broker's MQTT listener. Default 1883.
    pub port: u16,
    /// Several brokers instead of `host` and `port`, tried in this order: `mqtts://a:8883` for TLS, `mqtt://b` without.
    pub brokers: Vec<String>,
    /// Version of MQTT, `5` or `3.1.1`. With 3.1.1 a broker cannot say why it does not take an event. Default `5`.
    pub version: Version,
    /// TLS: with it, `host` is spoken to by TLS, too. Default: none.
    pub tls: Option<Tls>,
    /// MQTT client id; two clients with one id throw each other out. Default: empty, which means `vestibule-{gateway}`.
    pub client_id: String,
    /// User name for the broker. Default: none.
    pub username: Option<String>,
    /// File with the password and nothing else (a last line end is dropped); read at every connection, and when it
    /// changes. Default: none.
    pub password_file: Option<PathBuf>,
    /// File with a token that stands in the password's place, read as that is. Default: none.
    pub token_file: Option<PathBuf>,
    /// Front of every topic. Default `vestibule/v1`.
    pub root: String,
    /// Most messages sent and not yet acknowledged, 1 to 16000; the broker's receive maximum may lower it. Default 256.
    pub window: u16,
    /// Seconds of silence after which the broker is pinged, 5 to 3600. Default 15.
    pub keep_alive_s: u16,
    /// Seconds after which a missing acknowledgement ends the connection, 1 to 600. Where there is another broker, it is
    /// tried after six times as long in which this one puts off whatever it is sent. Default 10.
    pub ack_timeout_s: u16,
    /// Seconds for name lookup, TCP and MQTT handshake together, 1 to 600. Default 20.
    pub connect_timeout_s: u16,
    /// Pauses between connections. Default 200 to 60000.
    pub reconnect_ms: Reconnect,
    /// Most bytes of one MQTT packet; the broker's own maximum may lower it. A larger event is set aside. Default 524288.
    pub max_packet_bytes: u32,
    /// What goes first where there is a backlog: `backlog-first` keeps the order of the log, `live-first` breaks it.
    /// Critical events go ahead in either. Default `backlog-first`.
    pub order: Order,
    /// Seconds for which an event that the broker does not allow us to publish is tried again before it is set aside as
    /// a dead letter; 2592000 at most. Default 3600.
    pub refused_after_s: u64,
    /// Several events in one message, on one topic of the gateway, instead of one each. Default: none.
    pub batch: Option<Batching>,
    /// Whether messages carry their content type as an MQTT 5 property. Switch it off for a broker that cannot hand such
    /// messages on to MQTT 3.1.1 subscribers, as rumqttd 0.20 cannot. Default true.
    pub content_type: bool,
}

/// Pauses between connections, in milliseconds: they double from the first to the longest, and each gateway waits between
/// half and the whole of one, so that a fleet does not come back in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconnect {
    /// The pause after a good connection, at least 1. Default 200.
    pub first: u64,
    /// The longest, at least as long as the first, and 3600000 at most. Default 60000.
    pub most: u64,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect { first: 200, most: 60_000 }
    }
}

impl Reconnect {
    /// The first and the longest pause.
    pub(super) fn pauses(self) -> (Duration, Duration) {
        (Duration::from_millis(self.first), Duration::from_millis(self.most))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 1883,
            brokers: Vec::new(),
            version: Version::default(),
            tls: None,
            client_id: String::new(),
            username: None,
            password_file: None,
            token_file: None,
            root: "vestibule/v1".to_owned(),
            window: 256,
            keep_alive_s: 15,
            ack_timeout_s: 10,
            connect_timeout_s: 20,
            reconnect_ms: Reconnect::default(),
            max_packet_bytes: 512 * 1024,
            order: Order::default(),
            refused_after_s: 3600,
            batch: None,
            content_type: true,
        }
    }
}

impl Config {
    /// Everything that is wrong with these settings: the key, and a sentence that says why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, key: &'static str, why: &str| {
            if wrong {
                faults.push((key, why.to_owned()));
            }
        };
        if let Err(why) = host(&self.host) {
            fault(true, "host", &why);
        }
        fault(self.port == 0, "port", "must not be 0");
        fault(
            !topic::is_root(&self.root),
            "root",
            "must be topic levels without `+`, `#`, a leading `$` or an empty level",
        );
        fault(!(1..=16_000).contains(&self.window), "window", "must be 1 to 16000");
        fault(!(5..=3600).contains(&self.keep_alive_s), "keep_alive_s", "must be 5 to 3600");
        fault(!(1..=600).contains(&self.ack_timeout_s), "ack_timeout_s", "must be 1 to 600");
        fault(!(1..=600).contains(&self.connect_timeout_s), "connect_timeout_s", "must be 1 to 600");
        let Reconnect { first, most } = self.reconnect_ms;
        fault(
            first == 0 || most < first || most > LONGEST_PAUSE_MS,
            "reconnect_ms",
            "`first` must be at least 1, and `most` at least `first` and at most 3600000, an hour",
        );
        fault(self.max_packet_bytes < 1024, "max_packet_bytes", "must be at least 1024");
        fault(self.refused_after_s > LONGEST_REFUSAL_S, "refused_after_s", "must be at most 2592000, thirty days");
        let nameless = self.username.as_deref().unwrap_or_default().is_empty();
        fault(self.password_file.is_some() && nameless, "password_file", "needs a username");
        fault(
            self.token_file.is_some() && nameless && self.version == Version::V311,
            "token_file",
            "needs a username with MQTT 3.1.1",
        );
        fault(
            self.token_file.is_some() && self.password_file.is_some(),
            "token_file",
            "there is a password_file already",
        );
        for broker in &self.brokers {
            match Address::parse(broker) {
                Err(why) => fault(true, "brokers", &format!("`{broker}`: {why}")),
                Ok(address) if self.tls.is_some() && !address.tls => {
                    let by_tls =
                        Address { tls: true, port: if address.port == 1883 { 8883 } else { address.port }, ..address };
                    let why = format!("`{broker}` is spoken to without TLS although there is `tls`: write `{by_tls}`");
                    fault(true, "brokers", &why);
                }
                Ok(_) => {}
            }
        }
        if let Some(batch) = &self.batch {
            fault(!(1..=10_000).contains(&batch.max_events), "batch.max_events", "must be 1 to 10000");
            fault(batch.max_bytes < 1024, "batch.max_bytes", "must be at least 1024");
            fault(batch.max_age_ms > LONGEST_WAIT_MS, "batch.max_age_ms", "must be at most 60000, a minute");
        }
        if let Some(tls) = &self.tls {
            fault(tls.certificate.is_some() != tls.key.is_some(), "tls", "`certificate` and `key` need each other");
            let name = tls.server_name.as_deref();
            let wrong = name.is_some_and(|name| rustls::pki_types::ServerName::try_from(name).is_err());
            fault(wrong, "tls.server_name", "must be a host name or an address");
        }
        faults
    }

    /// Our client id at the broker, on a gateway of this name.
    pub fn client_id(&self, gateway: &str) -> String {
        if self.client_id.is_empty() { topic::client_id(gateway) } else { self.client_id.clone() }
    }

    /// Where the brokers are, in the order in which they are tried; what is no address is left out.
    pub fn addresses(&self) -> Vec<Address> {
        if self.brokers.is_empty() {
            let host = self.host.trim();
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            return vec![Address { host: host.to_owned(), port: self.port, tls: self.tls.is_some() }];
        }
        self.brokers.iter().filter_map(|broker| Address::parse(broker).ok()).collect()
    }

    /// The brokers, as a client of this id sees them.
    pub fn broker(&self, client_id: String) -> Broker {
        Broker {
            addresses: self.addresses(),
            version: self.version,
            tls: self.tls.clone(),
            client_id,
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            token_file: self.token_file.clone(),
            keep_alive_s: self.keep_alive_s.max(5),
            connect_timeout_s: self.connect_timeout_s,
            ack_timeout_s: self.ack_timeout_s,
            reconnect: self.reconnect_ms.pauses(),
            max_packet_bytes: self.max_packet_bytes,
        }
    }

    /// What of the files that these settings name cannot be used now: the key, and a sentence.
    pub fn unreadable(&self) -> Vec<(&'static str, String)> {
        self.broker(String::new()).unreadable()
    }

    /// Which of the files with secrets that these settings name others may use: the key, and a sentence. No fault, but worth
    /// a word: whoever shares them with a group has reason to.
    pub fn exposed(&self) -> Vec<(&'static str, String)> {
        self.broker(String::new()).exposed()
    }
}

/// Whether a text can be a host, and nothing more than that; else what to write instead.
fn host(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("must name the broker".to_owned());
    }
    if text.contains("://") {
        return Err(format!("`{text}` is an address, not a host: write `brokers = [\"{text}\"]`"));
    }
    // An address of IPv6 has more colons than one, and may stand in brackets.
    let with_port = match text.rsplit_once("]:") {
        Some((host, port)) => Some((host.trim_start_matches('['), port)),
        None => text.split_once(':').filter(|(_, rest)| !rest.contains(':')),
    };
    if let Some((host, port)) = with_port {
        return Err(format!("`{text}` is a host and a port: write `host = \"{host}\"` and `port = {port}`"));
    }
    if text.contains(['/', '@', '?', '#']) || text.contains(char::is_whitespace) {
        return Err(format!("`{text}` is no host; user names and passwords have settings of their own"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_faults_and_all_faults_are_named_at_once() {
        assert_eq!(Config::default().faults(), []);
        let config = Config {
            host: " ".to_owned(),
            port: 0,
            root: "a/#".to_owned(),
            window: 0,
            keep_alive_s: 4,
            ack_timeout_s: 0,
            connect_timeout_s: 0,
            reconnect_ms: Reconnect { first: 2, most: 1 },
            max_packet_bytes: 1,
            password_file: Some(PathBuf::from("secret")),
            token_file: Some(PathBuf::from("secret")),
            version: Version::V311,
            brokers: vec!["b:1".to_owned()],
            batch: Some(Batching { max_events: 0, max_bytes: 9, ..Batching::default() }),
            tls: Some(Tls {
                certificate: Some(PathBuf::from("c")),
                server_name: Some("a b".to_owned()),
                ..Tls::default()
            }),
            ..Config::default()
        };
        let keys: Vec<_> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "host",
                "port",
                "root",
                "window",
                "keep_alive_s",
                "ack_timeout_s",
                "connect_timeout_s",
                "reconnect_ms",
                "max_packet_bytes",
                "password_file",
                "token_file",
                "token_file",
                "brokers",
                "batch.max_events",
                "batch.max_bytes",
                "tls",
                "tls.server_name"
            ]
        );
    }

    #[test]
    fn one_broker_or_several_by_tls_or_not() {
        let shown = |text: &str| {
            let config: Config = toml::from_str(text).expect("reads");
            config.addresses().iter().map(Address::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("host = '::1'"), ["mqtt://[::1]:1883"]);
        assert_eq!(shown("host = 'a'\nport = 8883\ntls = {}"), ["mqtts://a:8883"]);
        assert_eq!(shown("brokers = ['mqtts://a', 'mqtt://b']"), ["mqtts://a:8883", "mqtt://b:1883"]);
    }

    #[test]
    fn what_looks_like_tls_and_is_none_is_a_fault_that_says_what_to_write() {
        let faults = |text: &str| toml::from_str::<Config>(text).expect("reads").faults();
        for (text, key, says) in [
            ("brokers = ['mqtts://a', 'mqtt://b:1883']\ntls = {}", "brokers", "write `mqtts://b:8883`"),
            ("brokers = ['mqtt://b:99']\ntls = {}", "brokers", "write `mqtts://b:99`"),
            ("host = 'mqtts://x:8883'", "host", "write `brokers = [\"mqtts://x:8883\"]`"),
            ("host = 'x:1883'", "host", "write `host = \"x\"` and `port = 1883`"),
            ("host = '[::1]:1883'", "host", "write `host = \"::1\"` and `port = 1883`"),
            ("host = 'user@x'", "host", "settings of their own"),
        ] {
            let found = faults(text);
            assert!(matches!(&found[..], [(at, why)] if *at == key && why.contains(says)), "{text}: {found:?}");
        }
        for text in ["host = '::1'", "host = '[fe80::1]'", "host = '10.0.0.1'", "host = 'b.example'\ntls = {}"] {
            assert_eq!(faults(text), [], "{text}");
        }
    }

    #[test]
    fn times_have_an_end() {
        let most = "keep_alive_s = 3600\nack_timeout_s = 600\nconnect_timeout_s = 600\nrefused_after_s = 2592000\n\
                    reconnect_ms = { most = 3600000 }\nbatch = { max_age_ms = 60000 }";
        assert_eq!(toml::from_str::<Config>(most).expect("reads").faults(), []);
        let more = "keep_alive_s = 3601\nack_timeout_s = 601\nconnect_timeout_s = 601\nrefused_after_s = 2592001\n\
                    reconnect_ms = { most = 3600001 }\nbatch = { max_age_ms = 60001 }";
        let keys: Vec<_> =
            toml::from_str::<Config>(more).expect("reads").faults().into_iter().map(|(key, _)| key).collect();
        let times = [
            "keep_alive_s",
            "ack_timeout_s",
            "connect_timeout_s",
            "reconnect_ms",
            "refused_after_s",
            "batch.max_age_ms",
        ];
        assert_eq!(keys, times);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("prot = 1883").is_err());
        let four = toml::from_str::<Config>("version = '4'").expect_err("there is none");
        assert!(four.to_string().contains("must be \"5\" or \"3.1.1\""), "{four}");
        assert_eq!(toml::from_str::<Config>("version = 5").expect("5 is 5").version, Version::V5);
        assert!(toml::from_str::<Config>("version = 3.1").is_err());
        assert_eq!(toml::from_str::<Config>("version = '3.1.1'").expect("known").version, Version::V311);
        assert_eq!(toml::from_str::<Config>("").expect("every field has a default"), Config::default());
    }
}
