//! MQTT 3.1.1, by the client library's codec.

use bytes::BytesMut;
use rumqttc::mqttbytes::{Error, QoS, v4};
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode as Code;

use super::v5::refusal;
use super::{Garbled, Greeting, Limits, Login, Publication, Resume, Verdict, Word, garbled, most};

pub(super) use v4::Publish;

/// Appends the first packet of a connection.
pub(super) fn greet(greeting: &Greeting, login: &Login, out: &mut BytesMut) -> Result<(), Garbled> {
    let Greeting { client_id, keep_alive_s, will, session } = greeting;
    let mut connect = v4::Connect::new(client_id);
    connect.keep_alive = *keep_alive_s;
    connect.login = login.as_ref().map(|(name, password)| v4::Login::new(name, password));
    connect.clean_session = matches!(session, Resume::Never | Resume::Within { seconds: 0, .. });
    connect.last_will = will.as_ref().map(|will| v4::LastWill {
        topic: will.topic.clone(),
        message: will.payload.clone(),
        qos: QoS::AtLeastOnce,
        retain: will.retain,
    });
    connect.write(out).map(drop).map_err(garbled)
}

/// Appends a subscription.
pub(super) fn subscribe(filter: String, id: u16, out: &mut BytesMut) -> Result<(), Garbled> {
    v4::Subscribe { pkid: id, ..v4::Subscribe::new(filter, QoS::AtLeastOnce) }.write(out).map(drop).map_err(garbled)
}

/// The packet of a publication.
pub(super) fn publish(Publication { topic, payload, retain, content: _ }: Publication) -> Publish {
    // Any id but 0, which stands for none.
    Publish { dup: false, qos: QoS::AtLeastOnce, retain, topic, pkid: 1, payload }
}

/// Takes the next word from the front of what was heard; `None` where it is not whole yet.
pub(super) fn read(heard: &mut BytesMut) -> Result<Option<Word>, Garbled> {
    let before = heard.len();
    match v4::Packet::read(heard, most()) {
        Ok(packet) => word(packet).map(Some),
        Err(Error::InsufficientBytes(_)) if heard.len() == before => Ok(None),
        Err(error) => Err(garbled(error)),
    }
}

fn word(packet: v4::Packet) -> Result<Word, Garbled> {
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
                resumed: ack.session_present,
            }),
            RefusedProtocolVersion => Word::Refusal("it does not speak MQTT 3.1.1 on this port".to_owned()),
            BadClientId => Word::Refusal(refusal(Code::BadClientId).to_owned()),
            ServiceUnavailable => Word::Refusal(refusal(Code::ServiceUnavailable).to_owned()),
            BadUserNamePassword => Word::Refusal(refusal(Code::BadUserNamePassword).to_owned()),
            NotAuthorized => Word::Refusal(refusal(Code::NotAuthorized).to_owned()),
        },
        v4::Packet::PubAck(ack) => Word::Ack(ack.pkid, Verdict::Accepted),
        v4::Packet::SubAck(ack) => {
            let granted = |code| matches!(code, v4::SubscribeReasonCode::Success(qos) if qos != QoS::AtMostOnce);
            Word::Subscribed(ack.pkid, ack.return_codes.into_iter().all(granted))
        }
        v4::Packet::PingResp => Word::Pong,
        other => return Err(Garbled(format!("unexpected packet {:.40}", format!("{other:?}")))),
    })
}
