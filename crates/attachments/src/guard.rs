//! Which addresses a stranger may have us connect to: public ones.
//!
//! What is not known to be public is not: of IPv6 only the global unicast block counts, and of what embeds an IPv4 address only the
//! well-known prefix for translation, by the address that it embeds. Sources: the IANA special-purpose address registries for
//! IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;

/// An address that the configuration names, which may be fetched from wherever it lies: a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exempt {
    host: String,
    port: u16,
}

impl Exempt {
    /// The host and port of an address.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self { host: url.host_str()?.to_ascii_lowercase(), port: url.port_or_known_default()? })
    }
}

/// Whether an address is one of the public Internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = match (a, b, c) {
        // This network, private, loopback, multicast and reserved blocks.
        (0 | 10 | 127 | 224..=255, _, _) => true,
        // Shared by providers (RFC 6598); a cloud's metadata lies there too.
        (100, 64..=127, _) => true,
        (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, and the relays of 6to4.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        // Benchmarks.
        (198, 18..=19, _) => true,
        _ => false,
    };
    // What a machine at Azure asks about itself: public by its number, inside by what it tells.
    let is_wire_server = [a, b, c, d] == [168, 63, 129, 16];
    !special && !is_wire_server
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    // RFC 6052: an IPv4 address as networks without IPv4 write it.
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let ([g0, g1], [h0, h1]) = (g.to_be_bytes(), h.to_be_bytes());
        return is_public_v4(Ipv4Addr::new(g0, g1, h0, h1));
    }
    match (a, b) {
        // Protocol assignments, Teredo and ORCHID among them.
        (0x2001, 0..=0x01ff) => false,
        // Documentation.
        (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff) => false,
        // 6to4 embeds an IPv4 address.
        (0x2002, _) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn t15_t19_what_is_not_public_is_refused() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!public(inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.0.1",
            "223.255.255.255",
        ] {
            assert!(public(outside), "{outside}");
        }
    }

    #[test]
    fn t16_what_embeds_a_private_address_is_refused() {
        for inside in [
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:5ef5:79fb::",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:808:808::1",
            "3fff:1::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(inside), "{inside}");
        }
        for outside in ["2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "64:ff9b::808:808"] {
            assert!(public(outside), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn what_std_calls_special_is_never_public(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_multicast() || address.is_unspecified() || address.is_broadcast() || address.is_documentation();
            prop_assert!(!(special && is_public(address.into())));
            prop_assert!(!is_public(address.to_ipv6_mapped().into()));
            let compatible = Ipv6Addr::from_bits(u128::from(bits));
            prop_assert!(!is_public(compatible.into()));
        }
    }
}
