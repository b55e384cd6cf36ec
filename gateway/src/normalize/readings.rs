//! What a message says is well. Nobody is told of it, unless it ends a condition that is open: then it is the event that
//! says so (`supply.ok`, `device.recovered`, a sensor's `cleared`).

use crate::event::{Component, Device, Event, Kind, State};
use crate::profile::Profile;
use crate::protocol::ndc::status::DeviceStatus;

/// A supply digit that says "enough".
const GOOD: u8 = 1;
/// The worst severity digit that is no fault: "routine".
const ROUTINE: u8 = 1;

/// Sensors whose end has no kind of its own: it is the same kind again, with `state: cleared`.
const SENSORS: [(&str, Kind); 4] = [
    ("vibration_heat", Kind::SecurityVibration),
    ("door", Kind::SecurityDoorOpen),
    ("silent_signal", Kind::SecuritySilentAlarm),
    ("electronics_enclosure", Kind::SecurityEnclosureOpen),
];

/// What this status says is well.
pub(super) fn of_device(status: &DeviceStatus, profile: &Profile) -> Vec<Event> {
    let mut readings = Vec::new();
    if status.severity.is_some() && status.worst_severity() <= ROUTINE {
        readings.push(about(Kind::DeviceRecovered, status.device, None, "works again", profile));
    }
    for (index, digit) in status.supplies.iter().flatten().enumerate() {
        if *digit == GOOD {
            let component = profile.supply(status.device, index);
            readings.push(about(Kind::SupplyOk, status.device, Some(component), "good again", profile));
        }
    }
    if let Some(bits) = &status.sensor_bits {
        for (_, kind) in SENSORS.iter().filter(|(name, _)| bits.get(name) == Some(&false)) {
            let kind = if *kind == Kind::SecurityDoorOpen { Kind::SecurityDoorClosed } else { *kind };
            let mut reading = about(kind, status.device, None, "over", profile);
            reading.state = Some(State::Cleared);
            reading.severity = crate::event::Severity::Info;
            readings.push(reading);
        }
    }
    readings
}

fn about(kind: Kind, device: Device, component: Option<Component>, what: &str, profile: &Profile) -> Event {
    let words = profile.device_words(device);
    let event = Event::new(kind).device(device);
    match component {
        Some(component) => {
            let part = component.to_string().replace('_', " ");
            event.component(component).detail(format!("{words}: {part} {what}"))
        }
        None => event.detail(format!("{words}: {what}")),
    }
}
