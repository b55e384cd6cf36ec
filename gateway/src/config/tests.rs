//! What is found in a configuration, and that the example has all of it.

use super::*;

fn paths(text: &str) -> Vec<String> {
    Config::parse(text).expect_err("is refused").0.into_iter().map(|fault| fault.path).collect()
}

#[test]
fn all_faults_are_said_at_once() {
    let text = r#"
        colour = "red"
        [gateway]
        id = "a/b"
        [log]
        tail_events = "many"
        dirr = "/x"
        [[terminal]]
        name = "atm-01"
        profile = "ncr-selfserv-ndc"
        link = [{ name = "ndc", protocol = "morse", listen = "nowhere" }]
        [[terminal]]
        profile = "json-lines"
        link = [{ name = "a", protocol = "morse" }, { name = "b", protocol = "ndc", baud = "fast" }]
    "#;
    let found = paths(text);
    for path in ["colour", "log.tail_events", "log.dirr", "terminal[0].link[0].protocol", "terminal[0].link[0].listen"]
    {
        assert!(found.iter().any(|found| found == path), "{path} not in {found:?}");
    }
    for path in ["gateway.id", "terminal[1].name", "terminal[1].link[0].protocol", "terminal[1].link[1].baud"] {
        assert!(found.iter().any(|found| found == path), "{path} not in {found:?}");
    }
}

#[test]
fn values_of_the_right_type_are_checked_too() {
    let text = r#"
        [gateway]
        id = "a/b"
        [[terminal]]
        name = "atm-01"
        profile = "nobody"
        time_zone = "Europe/Atlantis"
        link = [{ name = "ndc", protocol = "ndc" }]
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
    "#;
    assert_eq!(
        paths(text),
        [
            "gateway.id",
            "terminal[0].time_zone",
            "terminal[0].profile",
            "terminal[0].link[0].listen",
            "terminal[1].name"
        ]
    );
}

#[test]
fn commands_need_a_broker_tokens_and_a_link_that_can() {
    let text = r#"
        commands.mqtt = true
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
        restart = { mqtt_topic = "relay/1" }
        link = [
            { name = "a", protocol = "jsonl", listen = "127.0.0.1:1", commands = true },
            { name = "b", protocol = "ndc", listen = "127.0.0.1:2", commands = true, listen_only = true },
        ]
    "#;
    assert_eq!(
        paths(text),
        [
            "commands.mqtt",
            "commands.mqtt_trust",
            "terminal[0].restart.mqtt_topic",
            "terminal[0].link[0].commands",
            "terminal[0].link[1].commands"
        ]
    );
}

#[test]
fn a_port_is_given_once() {
    let text = r#"
        http.listen = "127.0.0.1:8080"
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
        link = [
            { name = "a", protocol = "jsonl", listen = "0.0.0.0:8080" },
            { name = "b", protocol = "jsonl", listen = "0.0.0.0:4100" },
            { name = "c", protocol = "jsonl", listen = "127.0.0.1:0" },
            { name = "d", protocol = "jsonl", listen = "127.0.0.1:0" },
        ]
        [[listener]]
        name = "shared"
        protocol = "jsonl"
        listen = "[::1]:4100"
        [[listener]]
        name = "other"
        protocol = "jsonl"
        listen = "[::]:4100"
    "#;
    assert_eq!(paths(text), ["terminal[0].link[0].listen", "listener[1].listen"]);
    let said = Config::parse(text).expect_err("is refused").to_string();
    assert!(said.contains("0.0.0.0:8080 cannot be had beside 127.0.0.1:8080 of http.listen"), "{said}");
}

#[test]
fn two_connections_to_the_broker_have_two_client_ids() {
    let broker = "[forward]\nclient_id = 'a'\n[commands]\nmqtt_client_id = 'a'\nmqtt_trust = 'broker'\n";
    assert_eq!(paths(&format!("{broker}mqtt = true")), ["commands.mqtt_client_id"]);
    Config::parse(broker).expect("there is one connection alone");
    let relay = "[[terminal]]\nname = 'atm-01'\nprofile = 'json-lines'\nrestart = { mqtt_topic = 'relay/1' }";
    assert!(paths(&format!("{broker}{relay}")).contains(&"commands.mqtt_client_id".to_owned()));
    let usual = "[forward]\nclient_id = 'vestibule-gw-commands'\n[gateway]\nid = 'gw'\n\
                 [commands]\nmqtt_trust = 'broker'\nmqtt = true";
    assert_eq!(paths(usual), ["commands.mqtt_client_id"], "the usual id of the other");
    let apart = "[forward]\n[commands]\nmqtt_trust = 'broker'\nmqtt = true";
    Config::parse(apart).expect("they have two where nothing is said");
}

#[test]
fn tokens_cross_no_network_as_they_are_unless_it_is_said() {
    let with = |broker: &str, more: &str| {
        format!(
            "forward.brokers = ['mqtts://a', '{broker}']\nauth.tokens = '/etc/vestibule/tokens'\ncommands.mqtt = true\n{more}"
        )
    };
    for broker in ["mqtt://b", "mqtt://192.0.2.1:1884", "mqtt://[2001:db8::1]"] {
        assert_eq!(paths(&with(broker, "")), ["commands.mqtt"], "{broker}");
        for more in ["commands.plaintext = true", "commands.mqtt_trust = 'broker'"] {
            Config::parse(&with(broker, more)).expect(more);
        }
    }
    for broker in ["mqtts://b", "mqtt://localhost", "mqtt://127.0.0.5", "mqtt://[::1]", "mqtt://[::ffff:127.0.0.1]"] {
        Config::parse(&with(broker, "")).expect(broker);
    }
}

#[test]
fn the_example_is_true() {
    let text = include_str!("../../vestibule.example.toml");
    Config::parse(text).expect("the example is a configuration");
    // Every option that is commented out is one, too.
    let all: String =
        text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        });
    Config::parse(&all).expect("with all its options");
}
