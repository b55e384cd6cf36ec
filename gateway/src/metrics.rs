//! Every metric in one list. Dashboards are tested against it.
//!
//! Labels come from the configuration alone (terminal, link, plugin) or from closed lists (kind family, outcome): the
//! client library never forgets a label set.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

macro_rules! metrics {
    ($($field:ident: $type:ident = $name:literal, $help:literal $(, [$($label:literal),+])? $(, buckets $buckets:expr)?;)*) => {
        /// The gateway's metrics; each field is one.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $type,)*
        }

        /// Names of all metrics, for the tests of dashboards and alert rules.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Metrics {
            /// A new, zeroed set with a registry of its own.
            ///
            /// # Errors
            /// Where two metrics share a name; a test shows that none do.
            pub fn new() -> Result<Metrics, prometheus::Error> {
                let registry = Registry::new();
                $(let $field = metrics!(@make $type, $name, $help $(, [$($label),+])? $(, buckets $buckets)?)?;
                registry.register(Box::new($field.clone()))?;)*
                Ok(Metrics { registry, $($field,)* })
            }
        }
    };
    (@make IntCounter, $name:literal, $help:literal) => { IntCounter::new($name, $help) };
    (@make IntGauge, $name:literal, $help:literal) => { IntGauge::new($name, $help) };
    (@make IntCounterVec, $name:literal, $help:literal, [$($label:literal),+]) => {
        IntCounterVec::new(Opts::new($name, $help), &[$($label),+])
    };
    (@make IntGaugeVec, $name:literal, $help:literal, [$($label:literal),+]) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$($label),+])
    };
    (@make Histogram, $name:literal, $help:literal, buckets $buckets:expr) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))
    };
    (@make HistogramVec, $name:literal, $help:literal, [$($label:literal),+], buckets $buckets:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),+])
    };
}

/// Buckets for things that take microseconds to seconds.
const SECONDS: [f64; 12] = [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Buckets for sizes of batches.
const BATCH: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

metrics! {
    link_up: IntGaugeVec = "vestibule_link_up", "1 while the link is connected or its port is open, 0 while it is not.", ["terminal", "link"];
    link_received_bytes: IntCounterVec = "vestibule_link_received_bytes_total", "Bytes read from the link.", ["terminal", "link"];
    link_messages: IntCounterVec = "vestibule_link_messages_total", "Messages decoded from the link.", ["terminal", "link"];
    link_faults: IntCounterVec = "vestibule_link_faults_total", "Frames that could not be decoded.", ["terminal", "link"];
    link_reconnects: IntCounterVec = "vestibule_link_reconnects_total", "Times the link was lost.", ["terminal", "link"];
    link_connections: IntGauge = "vestibule_link_connections", "TCP connections that are open on the listeners.";
    link_refused: IntCounterVec = "vestibule_link_refused_total", "Connections refused, by reason.", ["reason"];
    tls_expiry: IntGaugeVec = "vestibule_tls_certificate_expiry_timestamp_seconds", "When a certificate of the link expires: own, the issuer's (ca), or the one that the other side showed last (peer).", ["terminal", "link", "role"];
    terminal_in_service: IntGaugeVec = "vestibule_terminal_in_service", "1 while the terminal is in service as far as it said, 0 while it is not.", ["terminal"];
    terminal_faults: IntGaugeVec = "vestibule_terminal_open_conditions", "Conditions that are raised at the terminal now.", ["terminal"];
    terminal_last_seen: IntGaugeVec = "vestibule_terminal_last_seen_timestamp_seconds", "When the terminal last said something.", ["terminal"];
    events_appended: IntCounterVec = "vestibule_events_appended_total", "Events committed to the log since this process started.", ["family", "severity"];
    log_appended: IntGauge = "vestibule_log_appended_events", "Events ever appended to this store, from the store itself.";
    log_commits: IntCounter = "vestibule_log_commits_total", "Transactions committed.";
    log_commit_seconds: Histogram = "vestibule_log_commit_seconds", "Time of one transaction from its first row to the end of its fsync.", buckets SECONDS;
    log_batch: Histogram = "vestibule_log_commit_events", "Events in one transaction.", buckets BATCH;
    log_refused: IntCounter = "vestibule_log_refused_total", "Submissions that failed alone and were rolled back.";
    log_duplicates: IntCounter = "vestibule_log_duplicates_total", "Events that a source sent again and that were not appended again.";
    log_journal_lines: IntCounter = "vestibule_log_journal_lines_total", "Journal lines kept.";
    log_store_bytes: IntGauge = "vestibule_log_store_bytes", "Size of the event database file.";
    log_wal_bytes: IntGauge = "vestibule_log_wal_bytes", "Size of the event database's write-ahead log.";
    log_free_bytes: IntGauge = "vestibule_log_free_bytes", "Bytes free on the disk of the store; -1 where the system does not say.";
    log_accepting: IntGauge = "vestibule_log_accepting", "1 while new events are accepted, 0 while there is no room for them.";
    log_not_accepted: IntCounter = "vestibule_log_not_accepted_total", "Submissions refused because there was no room.";
    log_waits_for_clock: IntGauge = "vestibule_log_waits_for_clock", "1 where nothing is thrown away by its age, because the clock has leapt ahead and nothing confirms it.";
    log_pruned: IntCounterVec = "vestibule_log_pruned_total", "What retention took off, event or journal_line, by reason: age, max_mb, reserve.", ["what", "reason"];
    log_checkpoints: IntCounterVec = "vestibule_log_checkpoints_total", "Checkpoints of the write-ahead log by outcome: done, blocked by a reader, full, failed.", ["outcome"];
    log_written_bytes: IntCounter = "vestibule_log_written_bytes_total", "Bytes that this process has had written to disks, by the system's count.";
    log_written_bytes_per_event: IntGauge = "vestibule_log_written_bytes_per_event", "Bytes written to disks for each event committed, since this process opened the store.";
    forward_connected: IntGauge = "vestibule_forward_connected", "1 while the broker has accepted our connection.";
    forward_broker: IntGaugeVec = "vestibule_forward_broker_in_use", "1 for the broker that has accepted our connection, 0 for the others.", ["broker"];
    forward_certificate_expiry: IntGaugeVec = "vestibule_forward_certificate_expiry_timestamp_seconds", "When a certificate of the connection to the broker ends: ours (own), or the one that the broker showed last (peer).", ["role"];
    forward_pending: IntGauge = "vestibule_forward_pending_events", "Events not yet forwarded, dead-lettered or discarded.";
    forward_forwarded: IntGauge = "vestibule_forward_forwarded_events", "Events of this store that the broker acknowledged.";
    forward_dead_lettered: IntGauge = "vestibule_forward_dead_lettered_events", "Events of this store that cannot be forwarded and were set aside.";
    forward_discarded: IntGauge = "vestibule_forward_discarded_events", "Events of this store that were given up unforwarded.";
    forward_inflight: IntGauge = "vestibule_forward_inflight_messages", "Messages sent and not yet acknowledged.";
    forward_held: IntGauge = "vestibule_forward_held_events", "Pending events that the broker put off or does not allow; they are sent again.";
    forward_published: IntCounter = "vestibule_forward_published_total", "Publishes acknowledged by the broker since this process started.";
    forward_connections: IntCounterVec = "vestibule_forward_connections_total", "Connection attempts by outcome.", ["outcome"];
    forward_file_changes: IntCounterVec = "vestibule_forward_file_changes_total", "Changes of the password, token and certificate files for the broker, by what became of them: taken, unusable.", ["outcome"];
    forward_stray_acks: IntCounter = "vestibule_forward_stray_acks_total", "Acknowledgements of messages that were not in flight, or no more.";
    forward_ack_seconds: Histogram = "vestibule_forward_ack_seconds", "Time from publish to acknowledgement.", buckets SECONDS;
    rule_events: IntCounterVec = "vestibule_rule_events_total", "Events handed to the plugin.", ["plugin"];
    rule_effects: IntCounterVec = "vestibule_rule_effects_total", "Effects of the plugin that were committed, by kind.", ["plugin", "effect"];
    rule_faults: IntCounterVec = "vestibule_rule_faults_total", "Events skipped because the plugin trapped or ran out of time.", ["plugin"];
    rule_batch_seconds: HistogramVec = "vestibule_rule_batch_seconds", "Time that the plugin took for one batch.", ["plugin"], buckets SECONDS;
    rule_lag: IntGaugeVec = "vestibule_rule_lag_events", "Events between the log's end and the plugin's position.", ["plugin"];
    rule_paused: IntGaugeVec = "vestibule_rule_paused", "1 while the plugin is put aside because it failed again and again; its events wait.", ["plugin"];
    rule_loaded: IntGaugeVec = "vestibule_rule_loaded", "1 while the plugin is in force.", ["plugin"];
    rule_reloads: IntCounterVec = "vestibule_rule_reloads_total", "Plugin files read, by outcome.", ["outcome"];
    http_requests: IntCounterVec = "vestibule_http_requests_total", "HTTP requests by status class.", ["class"];
    http_rejected: IntCounterVec = "vestibule_http_rejected_connections_total", "HTTP connections closed before or instead of an answer, by reason: full, address, tls, slow.", ["reason"];
    http_certificate_expiry: IntGauge = "vestibule_http_certificate_expiry_timestamp_seconds", "Unix time at which the certificate of HTTP ends; 0 without TLS.";
    auth_refused: IntCounterVec = "vestibule_auth_refused_total", "HTTP requests refused, by reason: missing, invalid, expired, unmapped, forbidden, pausing, rate.", ["reason"];
    auth_tokens_fault: IntGauge = "vestibule_auth_tokens_fault", "1 while the tokens' file cannot be used and older tokens are in force.";
    commands: IntCounterVec = "vestibule_commands_total", "Steps of commands by source and by what became of them: requested, sent, done, refused, expired, unknown; and the code of what became none, as forbidden.", ["source", "outcome"];
    commands_power_owed: IntGauge = "vestibule_commands_power_owed", "Terminals that may be without power because their relay does not hear that it is to come back.";
    commands_open: IntGauge = "vestibule_commands_open", "Commands that wait for their terminal or its answer.";
    commands_connections: IntCounterVec = "vestibule_commands_connections_total", "Attempts to connect to the broker for commands by outcome: connected, unreachable, tls, timeout, refused, failed.", ["outcome"];
    commands_connected: IntGauge = "vestibule_commands_connected", "1 while the broker has accepted the connection for commands and, where they are heard from it, the subscription.";
    clock_state: IntGaugeVec = "vestibule_clock_state", "1 for what is known of this machine's clock, 0 for the others: right, wrong, unknown.", ["state"];
    clock_moves: IntCounterVec = "vestibule_clock_moves_total", "Times that the clock was moved while the gateway ran, by direction: forward, back.", ["direction"];
    clock_moved: IntGauge = "vestibule_clock_moved_seconds", "By how much the clock was moved since this process started, all moves together.";
    config_reloads: IntCounterVec = "vestibule_config_reloads_total", "Changed configurations by outcome: applied, unchanged, refused.", ["outcome"];
    config_fault: IntGauge = "vestibule_config_fault", "1 while the configuration that was read last was refused and the one before is in force.";
    config_applied: IntGauge = "vestibule_config_applied_timestamp_seconds", "When the configuration that is in force took effect.";
    build_info: IntGaugeVec = "vestibule_build_info", "Always 1; the version stands in the label.", ["version"];
}

impl Metrics {
    /// All metrics in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_follows_the_naming() {
        let metrics = Metrics::new().expect("no two metrics share a name");
        metrics.log_commits.inc();
        let text = String::from_utf8(metrics.render().expect("renders")).expect("is text");
        assert!(text.contains("vestibule_log_commits_total 1"));
        assert!(NAMES.iter().all(|name| name.starts_with("vestibule_")));
    }
}
