//! Certificates that are renewed while the gateway runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::Tls;
use crate::event::{Event, Kind};
use crate::link::intake::Intake;

/// How often the files are looked at. Looking is enough: it follows links that are switched and folders that are
/// mounted, which a watch on a folder may miss, and costs three calls.
const LOOK: Duration = Duration::from_secs(1);

/// What the files look like from outside: size, time of change, and number in the file system.
type Look = Vec<Option<(u64, Option<SystemTime>, u64)>>;

/// Takes the link's certificates. The future takes them again whenever they have changed, until the gateway stops.
pub(crate) fn begin(tls: Arc<Tls>, intake: Arc<Intake>) -> impl Future<Output = ()> {
    let seen = look(&tls);
    let failed = !take(&tls, &intake, false);
    renew(tls, intake, seen, failed)
}

async fn renew(tls: Arc<Tls>, intake: Arc<Intake>, mut taken: Look, mut failed: bool) {
    let mut before = taken.clone();
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = intake.stop().cancelled() => return,
        }
        let now = look(&tls);
        // Files are written in pieces, and key and certificate one after the other: wait until they stand still.
        if now != taken && now == before {
            failed = !take(&tls, &intake, failed);
            taken.clone_from(&now);
        }
        before = now;
    }
}

/// Whether the files are in force now, and not expired. What cannot be used leaves those before in force.
fn take(tls: &Tls, intake: &Intake, failed_before: bool) -> bool {
    match tls.load() {
        Ok(material) => {
            intake.show_expiry("own", material.own_expiry);
            intake.show_expiry("ca", material.ca_expiry);
            tracing::info!(link = intake.name, "The link's certificates are in force.");
            let expired = material.expired(jiff::Timestamp::now().as_second());
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

fn look(tls: &Tls) -> Look {
    let files: [&Option<PathBuf>; 3] = [&tls.config.certificate, &tls.config.key, &tls.config.ca];
    let stamp = |path: &PathBuf| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.len(), seen.modified().ok(), seen.ino()))
    };
    files.into_iter().flatten().map(stamp).collect()
}
