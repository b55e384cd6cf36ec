//! Which events begin a condition, and which end it.

use crate::event::{Event, Kind, State};

/// What an event does to the condition that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It begins, or gets another degree.
    Begin,
    /// It ends.
    End,
}

/// The condition that this event is about, as a key unique within its terminal; `None` for mere happenings.
///
/// A cassette that is low and then out has one condition with two degrees, so the two share a key.
pub(super) fn of(event: &Event) -> Option<(String, Turn)> {
    use Turn::{Begin, End};
    let (subject, turn) = match event.kind {
        Kind::SupplyLow | Kind::SupplyOut | Kind::SupplyOverfill => ("supply", Begin),
        Kind::SupplyOk => ("supply", End),
        Kind::DeviceFault | Kind::DeviceSuspended | Kind::DeviceWarning => ("device", Begin),
        Kind::DeviceRecovered => ("device", End),
        Kind::DeviceRemoved => ("presence", Begin),
        Kind::CassetteMissing => ("cassette", Begin),
        Kind::CassetteInserted => ("cassette", End),
        Kind::ModeOutOfService => ("service", Begin),
        Kind::ModeInService => ("service", End),
        Kind::ModeSupervisorEntered => ("supervisor", Begin),
        Kind::ModeSupervisorExited => ("supervisor", End),
        Kind::CommsLost => ("comms", Begin),
        Kind::CommsRestored => ("comms", End),
        Kind::GatewayLinkFault => ("link", Begin),
        Kind::GatewayLinkRestored => ("link", End),
        Kind::SecurityDoorOpen => ("door", Begin),
        Kind::SecurityDoorClosed => ("door", End),
        Kind::SecurityEnclosureOpen => ("enclosure", Begin),
        Kind::SecurityVibration => ("vibration", Begin),
        Kind::SecuritySilentAlarm => ("silent_alarm", Begin),
        Kind::SecurityTamper => ("tamper", Begin),
        Kind::AlertRaised => ("alert", Begin),
        Kind::AlertCleared => ("alert", End),
        _ => return None,
    };
    // Sensors have no kind of their own for "over": the source says so in `state`.
    let turn = if event.state == Some(State::Cleared) { End } else { turn };
    Some((key(subject, event), turn))
}

fn key(subject: &str, event: &Event) -> String {
    let mut key = subject.to_owned();
    let mut add = |part: &str| {
        key.push('/');
        key.push_str(part);
    };
    match subject {
        "comms" | "link" => add(event.link.as_deref().unwrap_or_default()),
        "alert" => {
            add(event.rule.as_deref().unwrap_or_default());
            add(event.attributes.get("alert").and_then(|name| name.as_str()).unwrap_or_default());
        }
        _ => {
            if let Some(device) = event.device {
                add(&device.to_string());
            }
            if let Some(component) = event.component {
                add(&component.to_string());
            }
        }
    }
    key
}
