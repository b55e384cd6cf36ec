//! Who listens where: no two can listen at one port of addresses that overlap.

use std::net::{IpAddr, SocketAddr};

/// The addresses of a configuration, each with the key that names it.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<(SocketAddr, String)>);

impl Ports {
    /// Notes that this key listens here; a sentence where another does already.
    pub(super) fn take(&mut self, address: SocketAddr, key: String) -> Option<String> {
        let taken = self.0.iter().find(|(other, _)| collide(*other, address));
        let sentence = taken.map(|(other, by)| match *other == address {
            true => format!("{address} is taken already, by {by}"),
            false => format!("{address} cannot be had beside {other} of {by}"),
        });
        self.0.push((address, key));
        sentence
    }
}

/// Whether nobody can listen at both: the port is the same, and one address is the other or stands for it too. `0.0.0.0` stands
/// for every address of IPv4, and `[::]` for every address there is, as Linux has it where nobody changed `bindv6only`. Port
/// 0 is whichever is free.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |one: IpAddr, other: IpAddr| match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(_)) => one.is_unspecified(),
        (IpAddr::V6(one), _) => one.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    };
    let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (here == there || covers(here, there) || covers(there, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_covers_each_of_them() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ] {
            let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
            assert_eq!(collide(at(one), at(other)), expected, "{one} {other}");
            assert_eq!(collide(at(other), at(one)), expected, "{other} {one}");
        }
    }
}
