//! What switches a terminal's power, where its protocol knows no restart.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest pause without power, in seconds.
const LONGEST: u64 = 600;

/// A switch in a terminal's supply of power: a relay or power strip that MQTT reaches, or a line of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// The topic that the relay listens to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_topic: Option<String>,
    /// What switches the power on.
    #[serde(default = "on")]
    pub payload_on: String,
    /// What switches it off.
    #[serde(default = "off")]
    pub payload_off: String,
    /// Seconds without power.
    #[serde(default = "off_s")]
    pub off_s: u64,
    /// The line that the relay hangs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpio: Option<Gpio>,
}

/// A line of this machine's pins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// The device of the chip.
    pub chip: PathBuf,
    /// The number of the line.
    pub line: u32,
    /// Whether the relay draws while the line is low.
    #[serde(default)]
    pub active_low: bool,
    /// Seconds without power, where not those of the table above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_s: Option<u64>,
}

fn on() -> String {
    "ON".to_owned()
}

fn off() -> String {
    "OFF".to_owned()
}

fn off_s() -> u64 {
    10
}

impl Restart {
    /// What is wrong with it: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.mqtt_topic.is_some() == self.gpio.is_some() {
            faults.push(("mqtt_topic", "give one of `mqtt_topic` and `gpio`".to_owned()));
        }
        let level = |level: &str| !level.is_empty() && !level.chars().any(|c| c.is_control() || "+#".contains(c));
        if let Some(topic) = &self.mqtt_topic
            && (topic.len() > 1024 || topic.starts_with('$') || !topic.split('/').all(level))
        {
            faults.push(("mqtt_topic", "must be topic levels without `+`, `#` or an empty level".to_owned()));
        }
        if !(1..=LONGEST).contains(&self.pause().as_secs()) {
            faults.push(("off_s", format!("must be 1 to {LONGEST}")));
        }
        faults
    }

    /// How long the terminal is without power.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(self.gpio.as_ref().and_then(|gpio| gpio.off_s).unwrap_or(self.off_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_a_topic_or_a_line() {
        for (text, expected) in [
            ("mqtt_topic = \"relay/3/set\"", ""),
            ("gpio = { chip = \"/dev/gpiochip0\", line = 17, off_s = 5 }", ""),
            ("", "mqtt_topic"),
            ("mqtt_topic = \"a\"\ngpio = { chip = \"/dev/gpiochip0\", line = 17 }", "mqtt_topic"),
            ("mqtt_topic = \"relay/+\"", "mqtt_topic"),
            ("mqtt_topic = \"a\"\noff_s = 0", "off_s"),
            ("gpio = { chip = \"/dev/gpiochip0\", line = 17, off_s = 601 }", "off_s"),
        ] {
            let restart: Restart = toml::from_str(text).expect("of the right types");
            let faults: Vec<_> = restart.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(faults.join(" "), expected, "{text}");
        }
    }
}
