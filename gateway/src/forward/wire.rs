//! MQTT in our own words, in version 5 and 3.1.1: what is said to a broker and heard from it. Bytes only, no I/O.
//!
//! The packets are written and read by the client library's codec; its event loop is not used. That one gives no packet
//! id for a publish, reuses ids early, resends after a reconnection and reads nothing while it cannot write: here ids are
//! our own, and what the broker has not acknowledged is known from the log alone.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self as mqtt4, v4};
use rumqttc::v5::mqttbytes::{self as mqtt5, v5};
use serde::{Deserialize, Serialize};

/// Most bytes of a packet that a broker may send us: acknowledgements and refusals with a sentence.
const MAX_INCOMING: u32 = 64 * 1024;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Version {
    /// MQTT 5: brokers say why they refuse, how much they take at once, and how large.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1: an acknowledgement is all that a broker can say.
    #[serde(rename = "3.1.1")]
    V311,
}

/// Who connects.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub(super) client_id: String,
    pub(super) keep_alive_s: u16,
    /// User name and password; either may be empty.
    pub(super) login: Option<(String, String)>,
    pub(super) will: Publication,
}

/// What is published at QoS 1.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    /// What the payload is; MQTT 5 alone can say it.
    pub(super) content: Option<Content>,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Its media type.
    pub(super) kind: &'static str,
    /// How it is packed; none is UTF-8 text as it is.
    pub(super) encoding: Option<&'static str>,
}

/// What a broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages not yet acknowledged.
    pub(super) in_flight: u16,
    /// Bytes of one packet.
    pub(super) packet: u32,
    /// Whether it keeps retained messages.
    pub(super) retains: bool,
    /// Whether it takes QoS 1.
    pub(super) acknowledges: bool,
    /// The keep-alive that it wants instead of ours, in seconds.
    pub(super) keep_alive_s: Option<u16>,
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// We are connected.
    Welcome(Limits),
    /// We are not: why.
    Refusal(String),
    /// The message of this packet id is dealt with.
    Ack(u16, Verdict),
    /// It is there.
    Pong,
    /// It ends the connection: why.
    Goodbye(String),
}

/// What an acknowledgement means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it.
    Accepted,
    /// Not now.
    Later(&'static str),
    /// Not before somebody mends an access list.
    Forbidden,
    /// Never.
    Never(&'static str),
}

/// Bytes that are no packet a broker may send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker does not speak MQTT as we know it: {0}")]
pub(super) struct Garbled(String);

/// A publication as a packet whose id is still to be given.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    V5(v5::Publish),
    V311(v4::Publish),
}

impl Packet {
    /// Bytes of it.
    pub(super) fn size(&self) -> usize {
        match self {
            Packet::V5(publish) => publish.size(),
            Packet::V311(publish) => publish.size(),
        }
    }

    /// Appends it under this id.
    pub(super) fn write(self, id: u16, out: &mut BytesMut) -> Result<(), Garbled> {
        match self {
            Packet::V5(publish) => v5::Publish { pkid: id, ..publish }.write(out).map(drop).map_err(garbled),
            Packet::V311(publish) => v4::Publish { pkid: id, ..publish }.write(out).map(drop).map_err(garbled),
        }
    }
}

fn garbled(error: impl ToString) -> Garbled {
    Garbled(error.to_string())
}

impl Version {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Version::V5 => "5",
            Version::V311 => "3.1.1",
        }
    }

    /// Whether a message can say what its payload is.
    pub(super) fn describes(self) -> bool {
        self == Version::V5
    }

    /// Appends the first packet of a connection. The session is always a clean one.
    pub(super) fn greet(self, greeting: &Greeting, out: &mut BytesMut) -> Result<(), Garbled> {
        let Greeting { client_id, keep_alive_s, login, will } = greeting;
        let login = login.as_ref();
        match self {
            Version::V5 => {
                let properties =
                    v5::ConnectProperties { max_packet_size: Some(MAX_INCOMING), ..v5::ConnectProperties::new() };
                let connect = v5::Connect {
                    keep_alive: *keep_alive_s,
                    client_id: client_id.clone(),
                    clean_start: true,
                    properties: Some(properties),
                };
                let described = will.content.map(|content| v5::LastWillProperties {
                    delay_interval: None,
                    payload_format_indicator: Some(1),
                    message_expiry_interval: None,
                    content_type: Some(content.kind.to_owned()),
                    response_topic: None,
                    correlation_data: None,
                    user_properties: Vec::new(),
                });
                let will = v5::LastWill {
                    topic: Bytes::copy_from_slice(will.topic.as_bytes()),
                    message: will.payload.clone(),
                    qos: mqtt5::QoS::AtLeastOnce,
                    retain: will.retain,
                    properties: described,
                };
                let login = login.map(|(name, password)| v5::Login::new(name, password));
                connect.write(&Some(will), &login, out).map(drop).map_err(garbled)
            }
            Version::V311 => {
                let mut connect = v4::Connect::new(client_id);
                connect.keep_alive = *keep_alive_s;
                connect.login = login.map(|(name, password)| v4::Login::new(name, password));
                connect.last_will = Some(v4::LastWill {
                    topic: will.topic.clone(),
                    message: will.payload.clone(),
                    qos: mqtt4::QoS::AtLeastOnce,
                    retain: will.retain,
                });
                connect.write(out).map(drop).map_err(garbled)
            }
        }
    }

    /// The packet of a publication.
    pub(super) fn packet(self, publication: Publication) -> Packet {
        let Publication { topic, payload, retain, content } = publication;
        match self {
            Version::V5 => Packet::V5(v5::Publish {
                dup: false,
                qos: mqtt5::QoS::AtLeastOnce,
                retain,
                topic: topic.into(),
                // Any but 0, which stands for none: the size depends on that.
                pkid: 1,
                payload,
                properties: content.map(|content| v5::PublishProperties {
                    payload_format_indicator: content.encoding.is_none().then_some(1),
                    content_type: Some(content.kind.to_owned()),
                    user_properties: content
                        .encoding
                        .map(|encoding| ("content-encoding".to_owned(), encoding.to_owned()))
                        .into_iter()
                        .collect(),
                    ..v5::PublishProperties::default()
                }),
            }),
            Version::V311 => {
                Packet::V311(v4::Publish { dup: false, qos: mqtt4::QoS::AtLeastOnce, retain, topic, pkid: 1, payload })
            }
        }
    }

    /// Appends the question whether the broker is there.
    pub(super) fn ping(self, out: &mut BytesMut) {
        // The same two bytes in both versions.
        out.extend_from_slice(&[0xc0, 0]);
    }

    /// Appends the word that we go, after which the broker drops our will.
    pub(super) fn leave(self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xe0, 0]);
    }

    /// Takes the next word from the front of what was heard; `None` where it is not whole yet.
    pub(super) fn read(self, heard: &mut BytesMut) -> Result<Option<Word>, Garbled> {
        let (before, kind) = (heard.len(), heard.first().copied().unwrap_or_default());
        let code = heard.get(1).filter(|length| **length > 0).and(heard.get(2)).copied();
        let read = match self {
            Version::V5 => match v5::Packet::read(heard, Some(MAX_INCOMING)) {
                Ok(packet) => Ok(word5(packet)?),
                // Not whole: nothing was taken. Where something was, lengths within the packet are wrong.
                Err(mqtt5::Error::InsufficientBytes(_)) if heard.len() == before => return Ok(None),
                Err(error) => Err(garbled(error)),
            },
            Version::V311 => match v4::Packet::read(heard, usize::try_from(MAX_INCOMING).unwrap_or(usize::MAX)) {
                Ok(packet) => Ok(word311(packet)?),
                Err(mqtt4::Error::InsufficientBytes(_)) if heard.len() == before => return Ok(None),
                Err(error) => Err(garbled(error)),
            },
        };
        match read {
            // The library does not read a farewell without properties.
            Err(_) if self == Version::V5 && kind == 0xe0 && heard.len() < before => {
                Ok(Some(Word::Goodbye(code.map_or("no reason given".to_owned(), |code| format!("reason {code:#04x}")))))
            }
            read => read.map(Some),
        }
    }
}

fn word5(packet: v5::Packet) -> Result<Word, Garbled> {
    Ok(match packet {
        v5::Packet::ConnAck(v5::ConnAck { code: v5::ConnectReturnCode::Success, properties, .. }) => {
            let limits = properties.as_ref();
            Word::Welcome(Limits {
                in_flight: limits.and_then(|limits| limits.receive_max).unwrap_or(u16::MAX),
                packet: limits.and_then(|limits| limits.max_packet_size).unwrap_or(u32::MAX),
                retains: limits.and_then(|limits| limits.retain_available) != Some(0),
                acknowledges: limits.and_then(|limits| limits.max_qos) != Some(0),
                keep_alive_s: limits.and_then(|limits| limits.server_keep_alive),
            })
        }
        v5::Packet::ConnAck(v5::ConnAck { code, .. }) => Word::Refusal(refusal(code).to_owned()),
        v5::Packet::PubAck(ack) => Word::Ack(ack.pkid, verdict(ack.reason)),
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

fn word311(packet: v4::Packet) -> Result<Word, Garbled> {
    use v4::ConnectReturnCode::{
        BadClientId, BadUserNamePassword, NotAuthorized, RefusedProtocolVersion, ServiceUnavailable, Success,
    };
    Ok(match packet {
        v4::Packet::ConnAck(ack) => match ack.code {
            Success => Word::Welcome(Limits {
                in_flight: u16::MAX,
                packet: u32::MAX,
                retains: true,
                acknowledges: true,
                keep_alive_s: None,
            }),
            RefusedProtocolVersion => Word::Refusal("it does not speak MQTT 3.1.1 on this port".to_owned()),
            BadClientId => Word::Refusal(refusal(v5::ConnectReturnCode::BadClientId).to_owned()),
            ServiceUnavailable => Word::Refusal(refusal(v5::ConnectReturnCode::ServiceUnavailable).to_owned()),
            BadUserNamePassword => Word::Refusal(refusal(v5::ConnectReturnCode::BadUserNamePassword).to_owned()),
            NotAuthorized => Word::Refusal(refusal(v5::ConnectReturnCode::NotAuthorized).to_owned()),
        },
        v4::Packet::PubAck(ack) => Word::Ack(ack.pkid, Verdict::Accepted),
        v4::Packet::PingResp => Word::Pong,
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

fn refusal(code: v5::ConnectReturnCode) -> &'static str {
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

#[cfg(test)]
mod tests;
