//! MQTT 5, by the client library's codec.

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{Error, QoS, v5};

use super::{Content, Garbled, Greeting, Limits, Login, MAX_INCOMING, Publication, Resume, Verdict, Word, garbled};

pub(super) use v5::Publish;

/// Appends the first packet of a connection.
pub(super) fn greet(greeting: &Greeting, login: &Login, out: &mut BytesMut) -> Result<(), Garbled> {
    let Greeting { client_id, keep_alive_s, will, session } = greeting;
    let (session_expiry_interval, receive_maximum) = match *session {
        Resume::Never => (None, None),
        Resume::Within { seconds, at_once } => (Some(seconds), Some(at_once)),
    };
    let properties = v5::ConnectProperties {
        max_packet_size: Some(MAX_INCOMING),
        session_expiry_interval,
        receive_maximum,
        ..v5::ConnectProperties::new()
    };
    let connect = v5::Connect {
        keep_alive: *keep_alive_s,
        client_id: client_id.clone(),
        clean_start: *session == Resume::Never,
        properties: Some(properties),
    };
    let will = will.as_ref().map(|will| v5::LastWill {
        topic: Bytes::copy_from_slice(will.topic.as_bytes()),
        message: will.payload.clone(),
        qos: QoS::AtLeastOnce,
        retain: will.retain,
        properties: will.content.map(described),
    });
    let login = login.as_ref().map(|(name, password)| v5::Login::new(name, password));
    connect.write(&will, &login, out).map(drop).map_err(garbled)
}

fn described(content: Content) -> v5::LastWillProperties {
    v5::LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: Some(content.kind.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}

/// Appends a subscription.
pub(super) fn subscribe(path: String, id: u16, out: &mut BytesMut) -> Result<(), Garbled> {
    let retain_forward_rule = v5::RetainForwardRule::Never;
    let filter = v5::Filter { path, qos: QoS::AtLeastOnce, retain_forward_rule, ..v5::Filter::default() };
    v5::Subscribe { pkid: id, ..v5::Subscribe::new(filter, None) }.write(out).map(drop).map_err(garbled)
}

/// The packet of a publication.
pub(super) fn publish(Publication { topic, payload, retain, content }: Publication) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain,
        topic: topic.into(),
        // Any but 0, which stands for none: the size depends on that.
        pkid: 1,
        payload,
        properties: content.map(properties),
    }
}

fn properties(Content { kind, encoding }: Content) -> v5::PublishProperties {
    v5::PublishProperties {
        payload_format_indicator: encoding.is_none().then_some(1),
        content_type: Some(kind.to_owned()),
        user_properties: encoding
            .map(|encoding| ("content-encoding".to_owned(), encoding.to_owned()))
            .into_iter()
            .collect(),
        ..v5::PublishProperties::default()
    }
}

/// Takes the next word from the front of what was heard; `None` where it is not whole yet.
pub(super) fn read(heard: &mut BytesMut) -> Result<Option<Word>, Garbled> {
    let (before, kind) = (heard.len(), heard.first().copied().unwrap_or_default());
    let code = heard.get(1).filter(|length| **length > 0).and(heard.get(2)).copied();
    match v5::Packet::read(heard, Some(MAX_INCOMING)) {
        Ok(packet) => word(packet).map(Some),
        // Not whole: nothing was taken. Where something was, lengths within the packet are wrong.
        Err(Error::InsufficientBytes(_)) if heard.len() == before => Ok(None),
        // The library does not read a farewell without properties.
        Err(_) if kind == 0xe0 && heard.len() < before => {
            Ok(Some(Word::Goodbye(code.map_or("no reason given".to_owned(), |code| format!("reason {code:#04x}")))))
        }
        Err(error) => Err(garbled(error)),
    }
}

fn word(packet: v5::Packet) -> Result<Word, Garbled> {
    Ok(match packet {
        v5::Packet::ConnAck(v5::ConnAck { code: v5::ConnectReturnCode::Success, properties, session_present }) => {
            let limits = properties.as_ref();
            Word::Welcome(Limits {
                in_flight: limits.and_then(|limits| limits.receive_max).unwrap_or(u16::MAX),
                packet: limits.and_then(|limits| limits.max_packet_size).unwrap_or(u32::MAX),
                retains: limits.and_then(|limits| limits.retain_available) != Some(0),
                acknowledges: limits.and_then(|limits| limits.max_qos) != Some(0),
                keep_alive_s: limits.and_then(|limits| limits.server_keep_alive),
                resumed: session_present,
            })
        }
        v5::Packet::ConnAck(v5::ConnAck { code, .. }) => Word::Refusal(refusal(code).to_owned()),
        v5::Packet::PubAck(ack) => Word::Ack(ack.pkid, verdict(ack.reason)),
        v5::Packet::SubAck(ack) => {
            let granted = |code| matches!(code, v5::SubscribeReasonCode::Success(qos) if qos != QoS::AtMostOnce);
            Word::Subscribed(ack.pkid, ack.return_codes.into_iter().all(granted))
        }
        v5::Packet::PingResp(_) => Word::Pong,
        v5::Packet::Disconnect(v5::Disconnect { reason_code, properties }) => {
            use v5::DisconnectReasonCode::{NotAuthorized, ServerShuttingDown, SessionTakenOver};
            Word::Goodbye(match (reason_code, properties.and_then(|properties| properties.reason_string)) {
                (_, Some(text)) => text,
                (SessionTakenOver, None) => "another client uses our client id".to_owned(),
                (ServerShuttingDown, None) => "it shuts down".to_owned(),
                (NotAuthorized, None) => "not authorised".to_owned(),
                (code, None) => format!("{code:?}"),
            })
        }
        other => return Err(Garbled(format!("unexpected packet {:.40}", format!("{other:?}")))),
    })
}

/// Reads the reason code of an acknowledgement.
fn verdict(reason: v5::PubAckReason) -> Verdict {
    use v5::PubAckReason as Reason;
    match reason {
        Reason::Success | Reason::NoMatchingSubscribers => Verdict::Accepted,
        Reason::UnspecifiedError => Verdict::Later("unspecified error"),
        Reason::ImplementationSpecificError => Verdict::Later("implementation specific error"),
        Reason::PacketIdentifierInUse => Verdict::Later("packet identifier in use"),
        Reason::QuotaExceeded => Verdict::Later("quota exceeded"),
        Reason::NotAuthorized => Verdict::Forbidden,
        Reason::TopicNameInvalid => Verdict::Never("topic name invalid"),
        Reason::PayloadFormatInvalid => Verdict::Never("payload format invalid"),
    }
}

/// Why a broker refuses us, in words.
pub(super) fn refusal(code: v5::ConnectReturnCode) -> &'static str {
    use v5::ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword => "bad user name or password",
        Code::NotAuthorized => "not authorised (user name, password or access list)",
        Code::BadClientId | Code::ClientIdentifierNotValid => "it does not accept our client id",
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => "it does not speak MQTT 5 on this port",
        Code::BadAuthenticationMethod => "it wants another way of authentication",
        Code::Banned => "we are banned",
        Code::ServiceUnavailable | Code::ServerUnavailable | Code::ServerBusy => "it is not available now",
        Code::QuotaExceeded | Code::ConnectionRateExceeded => "too many connections",
        Code::UseAnotherServer | Code::ServerMoved => "it wants us to use another server",
        Code::TopicNameInvalid => "it does not accept the health topic",
        Code::PacketTooLarge => "our connect packet is too large for it",
        Code::RetainNotSupported => "it keeps no retained messages, which the health topic needs",
        Code::QoSNotSupported => "it does not take QoS 1",
        Code::PayloadFormatInvalid
        | Code::MalformedPacket
        | Code::ProtocolError
        | Code::ImplementationSpecificError
        | Code::UnspecifiedError
        | Code::Success => "it gave no reason that we know",
    }
}
