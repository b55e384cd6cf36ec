//! Certificates that are renewed while the gateway runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Tls;
use crate::clock;
use crate::event::{Event, Kind};
use crate::link::intake::Intake;
use crate::watch::Watch;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Takes the link's certificates. The future takes them again whenever they have changed, until the gateway stops.
pub(crate) fn begin(tls: Arc<Tls>, intake: Arc<Intake>) -> impl Future<Output = ()> {
    let files = [&tls.config.certificate, &tls.config.key, &tls.config.ca];
    let watch = Watch::new(files.into_iter().flatten().cloned().collect());
    let failed = !take(&tls, &intake, false);
    renew(tls, intake, watch, failed)
}

async fn renew(tls: Arc<Tls>, intake: Arc<Intake>, mut watch: Watch, mut failed: bool) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = intake.stop().cancelled() => return,
        }
        if watch.has_changed() {
            watch.take();
            failed = !take(&tls, &intake, failed);
        }
    }
}

/// Whether the files are in force now, and not expired. What cannot be used leaves those before in force.
fn take(tls: &Tls, intake: &Intake, failed_before: bool) -> bool {
    match tls.load() {
        Ok(material) => {
            intake.show_expiry("own", material.own_expiry);
            intake.show_expiry("ca", material.ca_expiry);
            tracing::info!(link = intake.name, "The link's certificates are in force.");
            let expired = material.expired(clock::judged().as_second());
            for fault in &expired {
                tracing::warn!(link = intake.name, fault, "A certificate of the link has expired.");
                note(intake, Kind::GatewayLinkFault, fault);
            }
            if failed_before && expired.is_empty() {
                note(intake, Kind::GatewayLinkRestored, "the certificate is in force");
            }
            expired.is_empty()
        }
        Err(reason) => {
            tracing::warn!(link = intake.name, reason, "The link's certificates cannot be used.");
            let kept = if tls.material().is_ok() { "; those before stay in force" } else { "" };
            note(intake, Kind::GatewayLinkFault, &format!("{reason}{kept}"));
            false
        }
    }
}

fn note(intake: &Intake, kind: Kind, what: &str) {
    intake.note(intake.owner(), Event::new(kind).detail(format!("link {}: TLS: {what}", intake.name)));
}
