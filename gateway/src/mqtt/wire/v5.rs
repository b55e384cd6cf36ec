//! MQTT 5, by the client library's codec.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{Error, QoS, v5};

use super::delivery::varint;
use super::{
    Content, Garbled, Greeting, Limits, Login, MAX_INCOMING, Publication, Resume, Verdict, Word, garbled, most,
};

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
    // Without it, a message that is published with `retain` while we are there would look like any other.
    let preserve_retain = true;
    let filter =
        v5::Filter { path, qos: QoS::AtLeastOnce, retain_forward_rule, preserve_retain, ..v5::Filter::default() };
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
    if heard.first().is_some_and(|first| first >> 4 == 4) {
        return acknowledgement(heard);
    }
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
        v5::Packet::SubAck(ack) => {
            let granted = |code| matches!(code, v5::SubscribeReasonCode::Success(qos) if qos != QoS::AtMostOnce);
            Word::Subscribed(ack.pkid, ack.return_codes.into_iter().all(granted))
        }
        v5::Packet::PingResp(_) => Word::Pong,
        v5::Packet::Disconnect(v5::Disconnect { reason_code, properties }) => {
            use v5::DisconnectReasonCode::{NotAuthorized, ServerShuttingDown, SessionTakenOver};
            Word::Goodbye(match (reason_code, properties.and_then(|properties| properties.reason_string)) {
                (SessionTakenOver, _) => "another client has our client id".to_owned(),
                (_, Some(text)) => text,
                (ServerShuttingDown, None) => "it shuts down".to_owned(),
                (NotAuthorized, None) => "not authorised".to_owned(),
                (code, None) => format!("{code:?}"),
            })
        }
        other => return Err(Garbled(format!("unexpected packet {:.40}", format!("{other:?}")))),
    })
}

/// Reads a PUBACK, by hand: the library knows the reasons of section 3.4.2.1 alone, and brokers give others, such as
/// mosquitto 0x95 for a message that is too large for it. Whatever is wrong with one message ends no connection.
fn acknowledgement(heard: &mut BytesMut) -> Result<Option<Word>, Garbled> {
    let broken = || Garbled("an acknowledgement of an impossible length".to_owned());
    let Some((length, width)) = varint(heard.get(1..)) else {
        return if heard.len() > 4 { Err(broken()) } else { Ok(None) };
    };
    if length < 2 || length > most() {
        return Err(broken());
    }
    let whole = 1 + width + length;
    if heard.len() < whole {
        return Ok(None);
    }
    let mut body = heard.split_to(whole);
    body.advance(1 + width);
    let id = body.get_u16();
    // Without a reason it is success; the properties behind one are for people.
    Ok(Some(Word::Ack(id, body.first().map_or(Verdict::Accepted, |code| verdict(*code)))))
}

/// What a reason code means for its message, by section 2.4 of MQTT 5. `Never` is said where the message itself is at
/// fault; what we do not know is tried again, since nothing says that the broker has it.
fn verdict(code: u8) -> Verdict {
    match code {
        // The second: nobody subscribes to it.
        0x00 | 0x10 => Verdict::Accepted,
        0x80 => Verdict::Later("unspecified error"),
        0x81 => Verdict::Never("malformed packet"),
        0x83 => Verdict::Later("implementation specific error"),
        0x87 => Verdict::Forbidden,
        0x88 => Verdict::Later("server unavailable"),
        0x89 => Verdict::Later("server busy"),
        0x8b => Verdict::Later("server shutting down"),
        0x8f | 0x90 => Verdict::Never("topic name invalid"),
        0x91 => Verdict::Later("packet identifier in use"),
        0x93 => Verdict::Later("receive maximum exceeded"),
        0x95 => Verdict::Never("packet too large"),
        0x96 => Verdict::Later("message rate too high"),
        0x97 => Verdict::Later("quota exceeded"),
        0x99 => Verdict::Never("payload format invalid"),
        0x9a => Verdict::Never("retain not supported"),
        _ => Verdict::Later("a reason that MQTT 5 has not for this"),
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
