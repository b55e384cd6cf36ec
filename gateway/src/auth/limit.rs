//! How often something may be asked for: a bucket for each who asks, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Most askers that are told apart; those above share one bucket.
const MAX_KEYS: usize = 4096;

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second; 0 for no limit.
    pub per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
}

/// Buckets that fill again with time. A bucket is one instant: when it will be full. One that is full is forgotten.
pub struct Limiter<K> {
    rate: Rate,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    full_at: HashMap<K, Instant>,
    shared: Option<Instant>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// Full buckets for everybody.
    pub fn new(rate: Rate) -> Limiter<K> {
        Limiter { rate, buckets: Mutex::new(Buckets { full_at: HashMap::new(), shared: None }) }
    }

    /// Takes one from the bucket.
    ///
    /// # Errors
    /// Where it is empty: with the time until it is not.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        let each = Duration::from_secs(1) / self.rate.per_second;
        let room = each.saturating_mul(self.rate.burst.max(1));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= MAX_KEYS && !buckets.full_at.contains_key(&key) {
            buckets.full_at.retain(|_, full_at| *full_at > now);
        }
        let crowded = buckets.full_at.len() >= MAX_KEYS && !buckets.full_at.contains_key(&key);
        let full_at =
            if crowded { buckets.shared.get_or_insert(now) } else { buckets.full_at.entry(key).or_insert(now) };
        let after = (*full_at).max(now) + each;
        match after.duration_since(now).checked_sub(room) {
            None | Some(Duration::ZERO) => {
                *full_at = after;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

/// Where a request comes from, as far as limits go: an IPv4 address, the network (/64) of an IPv6 address, of which one machine has
/// as many addresses as it likes, or this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// Of an address.
    pub fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }

    /// Of an address whose connection has come in at `own`. Where both are the same, this machine speaks to itself by way of
    /// an address that others know it by: no packet of another machine with that address passes a network or the kernel.
    pub fn met(address: IpAddr, own: Option<IpAddr>) -> Source {
        let ours = own.is_some_and(|own| own.to_canonical() == address.to_canonical());
        Source::of(if ours { Ipv4Addr::LOCALHOST.into() } else { address })
    }

    /// Whether it is this machine.
    pub fn is_local(self) -> bool {
        self.0.is_loopback()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_then_so_many_a_second() {
        let limiter = Limiter::new(Rate { per_second: 2, burst: 3 });
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take("a", start), Ok(()));
        }
        assert_eq!(limiter.take("a", start), Err(SECOND / 2));
        assert_eq!(limiter.take("b", start), Ok(()), "others are not held up");
        assert_eq!(limiter.take("a", start + SECOND / 4), Err(SECOND / 4));
        let passed = (0..100).filter(|tenth| limiter.take("a", start + SECOND / 10 * *tenth).is_ok()).count();
        assert!((19..=20).contains(&passed), "{passed}");
        let unlimited = Limiter::new(Rate { per_second: 0, burst: 0 });
        assert!((0..1000).all(|_| unlimited.take("a", start).is_ok()));
    }

    #[test]
    fn memory_is_bounded_and_the_crowd_shares_a_bucket() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 1 });
        let start = Instant::now();
        for key in 0..MAX_KEYS {
            assert_eq!(limiter.take(key, start), Ok(()));
        }
        assert_eq!(limiter.take(MAX_KEYS, start), Ok(()));
        assert!(limiter.take(MAX_KEYS + 1, start).is_err());
        assert!(limiter.take(7, start).is_err(), "those who are known keep their own");
        let later = start + SECOND * 2;
        assert_eq!(limiter.take(MAX_KEYS + 1, later), Ok(()));
        assert_eq!(limiter.buckets.lock().expect("not poisoned").full_at.len(), 1, "full buckets are forgotten");
    }

    #[test]
    fn sources_are_machines_not_addresses() {
        let source = |text: &str| Source::of(text.parse().expect("an address")).to_string();
        assert_eq!(source("192.0.2.7"), "192.0.2.7");
        assert_eq!(source("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(source(local), "127.0.0.1");
        }
        for (address, own, local) in [
            ("192.0.2.7", Some("192.0.2.7"), true),
            ("::ffff:192.0.2.7", Some("192.0.2.7"), true),
            ("2001:db8::7", Some("2001:db8::7"), true),
            ("2001:db8::7", Some("2001:db8::8"), false),
            ("192.0.2.7", Some("192.0.2.8"), false),
            ("192.0.2.7", None, false),
        ] {
            let own = own.map(|own| own.parse().expect("an address"));
            let met = Source::met(address.parse().expect("an address"), own);
            assert_eq!(met.is_local(), local, "{address} at {own:?}");
        }
    }
}
