//! One node of a cluster is killed under load and comes back: nothing is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::{Cluster, Node};
use crate::client::Client;
use crate::gateways::{self, Books, Gateway, TERMINALS};
use crate::load::{Answered, Load};
use crate::process::until;
use crate::reader::Reader;
use crate::recipes::{READER, READERS_PASSWORD};
use crate::{ALONE, figure, recipes, say};

const SETTLES_WITHIN: Duration = Duration::from_secs(120);
const BURSTS: Duration = Duration::from_millis(500);
/// A setting of `[forward]` that keeps a short test short: what a killed node owes is given up sooner.
const FORWARD: &str = "ack_timeout_s = 5\nconnect_timeout_s = 10";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_cluster_that_loses_a_node_loses_no_event() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let gateways = figure("VESTIBULE_FLEET_GATEWAYS", 20);
    let cluster = recipes::nats(dir.path(), gateways, None).await;
    survive("NATS", cluster, gateways, dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rabbitmq_cluster_that_loses_a_node_loses_no_event() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let gateways = figure("VESTIBULE_FLEET_RABBITMQ_GATEWAYS", 5);
    let cluster = recipes::rabbitmq(dir.path(), gateways, 3, None).await;
    survive("RabbitMQ", cluster, gateways, dir.path()).await;
}

async fn survive(name: &str, mut cluster: Cluster, size: usize, dir: &Path) {
    let begun = Instant::now();
    let lines = figure("VESTIBULE_FLEET_EVENTS", 200);
    let mut reader = Reader::start(dir, cluster.addresses(0), "3.1.1").await;
    let mut fleet: Vec<Gateway> =
        (0..size).map(|n| Gateway::start(dir, n, &cluster.addresses(n), "3.1.1", FORWARD)).collect();
    for gateway in &mut fleet {
        gateway.ready().await;
    }
    let started = begun.elapsed();

    let load = Load::start(&fleet, 0, lines, BURSTS);
    let quarter = u64::try_from(size * lines / 4).unwrap();
    reader.reaches(quarter).await;
    // The subscriber's own node: its session has to move, too.
    cluster.nodes[0].kill();
    reader.reaches(2 * quarter).await;
    cluster.nodes[0].restart().await;
    let answered = load.finish().await;
    let books = settle(&mut fleet, &mut reader).await;
    judge(&reader, &answered, &books, &fleet);
    let connections: u64 = books.iter().map(|books| books.connections).sum();
    assert!(connections > u64::try_from(size).unwrap(), "nobody lost a broker: nothing was tried");
    let complaint = keeps_to_its_own(&cluster, &mut reader).await;
    let kept = |site: &str, of: usize| -> Vec<usize> {
        // By its whole name where it is one site, because RabbitMQ keeps nothing for wildcards.
        let gateway = site.strip_prefix("branch-").map_or("+".to_owned(), |number| format!("gw-{number}"));
        let topic = format!("vestibule/v1/{site}/gateway/{gateway}/health");
        let look = |node: &Node| Client::new(node.mqtt, "3.1.1", READER, READERS_PASSWORD).retained(&topic, of);
        cluster.nodes.iter().map(look).collect()
    };
    let (mut all, one) = (kept("+", size), kept(&recipes::site(0), 1));
    // A node that has come back gathers what is retained in its own time.
    let since = Instant::now();
    while name == "NATS" && all.iter().any(|seen| *seen != size) && since.elapsed() < SETTLES_WITHIN {
        all = kept("+", size);
    }
    let told: usize = one.iter().sum();
    match name {
        "NATS" => {
            assert!(all.iter().all(|seen| *seen == size) && told == one.len(), "healths at each node: {all:?} {one:?}")
        }
        // None for a filter with wildcards; by its whole name at the nodes that took it.
        _ => assert!(all.iter().sum::<usize>() == 0 && told > 0, "healths at each node: {all:?} {one:?}"),
    }
    let (events, again) = (reader.count(), reader.figure("SELECT sum(times - 1) FROM events"));
    say(&format!(
        "{name}: {size} gateways, {events} events, {again} of them came again, {connections} connections, healths at each node {all:?}, the first by name {one:?}, {:.0} s ({:.0} s until all ran)",
        begun.elapsed().as_secs_f64(),
        started.as_secs_f64(),
    ));
    say(&format!(
        "what is forbidden: {}",
        if complaint.is_empty() { "acknowledged, and dropped" } else { complaint.trim() }
    ));
    gateways::stop(fleet).await;
    reader.stop().await;
}

/// Waits until no gateway has anything left to forward, and the subscriber has it all. Brokers take their time with what
/// they had already sent to a line that broke.
pub(crate) async fn settle(fleet: &mut [Gateway], reader: &mut Reader) -> Vec<Books> {
    let (mut seen, mut moved) = (0, Instant::now());
    let mut before: Option<Vec<Books>> = None;
    loop {
        let mut books = Vec::new();
        for gateway in &mut *fleet {
            books.push(gateway.books().await);
        }
        let count = reader.count();
        if count > seen {
            (seen, moved) = (count, Instant::now());
        }
        let quiet = books.iter().all(|books| books.pending == 0 && books.forwarded == books.appended);
        let all = quiet && count == books.iter().map(|books| books.appended).sum::<u64>();
        // What the gateways notice last, that their terminals hung up, is waited for by looking twice.
        let settled = all && before.as_ref() == Some(&books);
        if settled {
            return books;
        }
        let waited = moved.elapsed();
        assert!(waited < SETTLES_WITHIN, "{count} events, gaps {}: {books:?}\n{}", reader.gaps(), reader.tail());
        before = all.then_some(books);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Judges the subscriber's table against what the gateways have, and what their terminals were told.
pub(crate) fn judge(reader: &Reader, answered: &[Answered], books: &[Books], fleet: &[Gateway]) {
    let strange = reader.rows("SELECT why || ': ' || topic FROM strange", |row| row.get::<_, String>(0));
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!(reader.gaps(), serde_json::json!([]), "numbers are missing");
    for (n, (books, gateway)) in books.iter().zip(fleet).enumerate() {
        let site = recipes::site(n);
        let one = |what: &str| reader.figure(&format!("SELECT {what} FROM events WHERE site = '{site}'"));
        let seen = (one("count(*)"), one("min(sequence)"), one("max(sequence)"), one("count(DISTINCT epoch)"));
        assert_eq!(seen, (books.appended, 1, books.appended, 1), "{site}: {}", gateway.tail());
        // Its terminals, and the gateway's own events: each with one run of numbers from the beginning on.
        let epoch = format!("epoch IN (SELECT epoch FROM events WHERE site = '{site}')");
        let runs = reader.figure(&format!("SELECT count(*) FROM runs WHERE {epoch} AND first = 0"));
        assert_eq!(runs, u64::try_from(TERMINALS.len() + 1).unwrap(), "{site}");
    }
    let marks = "SELECT site || ' ' || (data ->> '$.attributes.mark') || ' ' || sequence FROM events
                 WHERE data ->> '$.attributes.mark' IS NOT NULL";
    let marks: BTreeSet<String> = reader.rows(marks, |row| row.get(0)).into_iter().collect();
    assert_eq!(marks.len(), answered.len());
    for line in answered {
        let mark = format!("{} {} {}", recipes::site(line.gateway), line.mark, line.sequence);
        assert!(marks.contains(&mark), "{line:?} was answered and did not arrive");
    }
}

/// Shows that a branch's login is good for its own site alone.
/// Gives what the broker's client complained of.
async fn keeps_to_its_own(cluster: &Cluster, reader: &mut Reader) -> String {
    let broker = cluster.nodes[1].mqtt;
    let (others, own) = (topic(1), topic(0));
    let branch = recipes::branch(broker, "3.1.1", 0);
    let complaint = branch.publish(&others, &["-m", "forbidden"]);
    assert_eq!(branch.publish(&own, &["-m", "allowed"]), "");
    let heard = |topic: &str| reader.figure(&format!("SELECT count(*) FROM strange WHERE topic = '{topic}'"));
    until(SETTLES_WITHIN, || "what is allowed does not arrive".into(), async || (heard(&own) == 1).then_some(())).await;
    assert_eq!(heard(&others), 0, "a branch spoke for another");
    complaint
}

fn topic(n: usize) -> String {
    format!("vestibule/v1/{}/atm-01/event/source/report", recipes::site(n))
}
