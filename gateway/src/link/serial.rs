//! Serial: a port that is open as long as it is plugged in.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::sleep;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use super::PAUSES;
use super::config::{Line, Parity};
use super::intake::Intake;
use super::session::{End, serve};
use crate::backoff::Backoff;
use crate::event::{Event, Kind};

/// Reads the port until the gateway stops; one that is not there is tried again after a growing pause.
pub(super) async fn run(path: PathBuf, line: Line, intake: Arc<Intake>) {
    let mut backoff = Backoff::new(PAUSES);
    let mut missing = false;
    intake.show_up(false);
    while !intake.stop().is_cancelled() {
        match open(&path, line) {
            Ok(port) => {
                tracing::info!(link = intake.name, path = %path.display(), "The serial port is open.");
                backoff.reset();
                let opened = format!("{} opened", path.display());
                let end = serve(port, Arc::clone(&intake), &opened, None).await;
                intake.shared.metrics.link_reconnects.with_label_values(&intake.labels()).inc();
                tracing::info!(link = intake.name, path = %path.display(), %end, "The serial port is gone.");
                if let End::Stopping = end {
                    return;
                }
                // The session's end has said that it is lost.
                missing = true;
            }
            Err(error) => {
                tracing::debug!(link = intake.name, path = %path.display(), %error, "The serial port cannot be opened.");
                if !missing {
                    missing = true;
                    let detail = format!("link {}: {} cannot be opened: {error}", intake.name, path.display());
                    intake.note(intake.owner(), Event::new(Kind::CommsLost).detail(detail));
                }
            }
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = intake.stop().cancelled() => {}
        }
    }
}

fn open(path: &std::path::Path, line: Line) -> tokio_serial::Result<SerialStream> {
    use tokio_serial::{DataBits, FlowControl, StopBits};
    tokio_serial::new(path.to_string_lossy(), line.baud)
        .parity(match line.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .data_bits(match line.data_bits {
            5 => DataBits::Five,
            6 => DataBits::Six,
            7 => DataBits::Seven,
            _ => DataBits::Eight,
        })
        .stop_bits(if line.stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .flow_control(FlowControl::None)
        .open_native_async()
}
