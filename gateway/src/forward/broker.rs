//! What we ask of the broker, and its answers in plain words.

use std::io;
use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, LastWillProperties, PubAckReason, PublishProperties,
};
use rumqttc::v5::{ConnectionError, MqttOptions, StateError};

use super::{Config, health};

/// Options of one connection: clean session, last will, every limit explicit.
pub(super) fn options(config: &Config, client_id: &str, password: Option<String>, will: LastWill) -> MqttOptions {
    // The client library joins host and port with a colon.
    let host = config.host.trim();
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let mut options = MqttOptions::new(client_id, host, config.port);
    options
        // Less than five seconds would be a panic.
        .set_keep_alive(Duration::from_secs(u64::from(config.keep_alive_s.max(5))))
        .set_clean_start(true)
        .set_connection_timeout(u64::from(config.connect_timeout_s.max(1)))
        .set_max_packet_size(Some(config.max_packet_bytes))
        .set_outgoing_inflight_upper_limit(packet_ids(config.window))
        .set_last_will(will);
    let mut network = NetworkOptions::new();
    // Single events must not wait for the acknowledgement of the TCP segment before.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some(username) = config.username.as_deref().filter(|name| !name.is_empty()) {
        options.set_credentials(username, password.unwrap_or_default());
    }
    options
}

/// Packet ids that the client library may use: four times the window, so that a broker that acknowledges out of order
/// rarely holds back the id whose turn it is.
pub(super) fn packet_ids(window: u16) -> u16 {
    window.max(1).saturating_mul(4)
}

/// The retained last will; with a content type where `described`.
pub(super) fn will(topic: &str, payload: String, described: bool) -> LastWill {
    let properties = described.then(|| LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: Some(health::CONTENT_TYPE.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    });
    LastWill::new(topic, payload, QoS::AtLeastOnce, true, properties)
}

/// Properties of a message with this content type, the payload being UTF-8; none where it is not `described`.
pub(super) fn properties(content_type: &str, described: bool) -> PublishProperties {
    if !described {
        return PublishProperties::default();
    }
    PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some(content_type.to_owned()),
        ..PublishProperties::default()
    }
}

/// What an acknowledgement means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it.
    Accepted,
    /// Not now.
    Later,
    /// Never.
    Never,
}

/// Reads the reason code of an acknowledgement.
pub(super) fn verdict(reason: PubAckReason) -> Verdict {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Verdict::Accepted,
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded
        // An access list is mended by people: until then nothing is given up.
        | PubAckReason::NotAuthorized => Verdict::Later,
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => Verdict::Never,
    }
}

/// A connection error as a metric label and a sentence for a person.
pub(super) fn failure(error: &ConnectionError) -> (&'static str, String) {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            ("refused", format!("the broker refused us: {}", refusal(*code)))
        }
        ConnectionError::Timeout(_) => ("timeout", "the broker did not answer in time".to_owned()),
        ConnectionError::Io(error) => ("unreachable", format!("the broker cannot be reached: {error}")),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let why = match (reason_code, reason_string) {
                (_, Some(text)) => text.clone(),
                (DisconnectReasonCode::SessionTakenOver, None) => "another client uses our client id".to_owned(),
                (DisconnectReasonCode::ServerShuttingDown, None) => "it shuts down".to_owned(),
                (DisconnectReasonCode::NotAuthorized, None) => "not authorised".to_owned(),
                (code, None) => format!("{code:?}"),
            };
            ("refused", format!("the broker ended the connection: {why}"))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            ("failed", "the broker closed the connection".to_owned())
        }
        ConnectionError::MqttState(StateError::Deserialization(error)) if is_closed(error) => {
            ("failed", "the connection broke".to_owned())
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            ("failed", "the broker did not answer a ping".to_owned())
        }
        ConnectionError::NotConnAck(_) | ConnectionError::MqttState(StateError::Deserialization(_)) => {
            ("failed", format!("the broker does not speak MQTT 5 as we know it: {error}"))
        }
        other => ("failed", other.to_string()),
    }
}

fn is_closed(error: &rumqttc::v5::mqttbytes::Error) -> bool {
    use rumqttc::v5::mqttbytes::Error;
    match error {
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorised (user name, password or access list)",
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            "it does not accept our client id"
        }
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            "it does not speak MQTT 5 on this port"
        }
        ConnectReturnCode::BadAuthenticationMethod => "it wants another way of authentication",
        ConnectReturnCode::Banned => "we are banned",
        ConnectReturnCode::ServiceUnavailable
        | ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServerBusy => "it is not available now",
        ConnectReturnCode::QuotaExceeded | ConnectReturnCode::ConnectionRateExceeded => "too many connections",
        ConnectReturnCode::UseAnotherServer | ConnectReturnCode::ServerMoved => "it wants us to use another server",
        ConnectReturnCode::TopicNameInvalid => "it does not accept the health topic",
        ConnectReturnCode::PacketTooLarge => "our connect packet is too large for it",
        ConnectReturnCode::RetainNotSupported => "it keeps no retained messages, which the health topic needs",
        ConnectReturnCode::QoSNotSupported => "it does not take QoS 1",
        ConnectReturnCode::PayloadFormatInvalid
        | ConnectReturnCode::MalformedPacket
        | ConnectReturnCode::ProtocolError
        | ConnectReturnCode::ImplementationSpecificError
        | ConnectReturnCode::UnspecifiedError
        | ConnectReturnCode::Success => "it gave no reason that we know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_named_clearly() {
        let (outcome, sentence) = failure(&ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword));
        assert_eq!((outcome, sentence.as_str()), ("refused", "the broker refused us: bad user name or password"));
        let (outcome, sentence) = failure(&ConnectionError::Io(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!((outcome, sentence.as_str()), ("unreachable", "the broker cannot be reached: connection refused"));
        let taken =
            StateError::ServerDisconnect { reason_code: DisconnectReasonCode::SessionTakenOver, reason_string: None };
        let (_, sentence) = failure(&ConnectionError::MqttState(taken));
        assert_eq!(sentence, "the broker ended the connection: another client uses our client id");
    }

    #[test]
    fn only_an_accepting_reason_counts_as_an_acknowledgement() {
        assert_eq!(verdict(PubAckReason::Success), Verdict::Accepted);
        assert_eq!(verdict(PubAckReason::NoMatchingSubscribers), Verdict::Accepted);
        assert_eq!(verdict(PubAckReason::QuotaExceeded), Verdict::Later);
        assert_eq!(verdict(PubAckReason::NotAuthorized), Verdict::Later);
        assert_eq!(verdict(PubAckReason::TopicNameInvalid), Verdict::Never);
    }

    #[test]
    fn settings_out_of_range_never_panic() {
        let config =
            Config { keep_alive_s: 0, connect_timeout_s: 0, window: 0, host: "::1".to_owned(), ..Config::default() };
        let options = options(&config, "id", None, will("a", String::new(), true));
        assert_eq!(options.broker_address(), ("[::1]".to_owned(), 1883));
        assert_eq!(options.keep_alive(), Duration::from_secs(5));
        assert!(options.clean_start());
    }
}
