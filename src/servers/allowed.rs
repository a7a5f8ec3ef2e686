//! Where connections may lead.
//!
//! Loopback and private addresses are allowed, by choice: a server behind a sidecar or in the same
//! cluster has one. Who does not want that names the hosts that are allowed.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use crate::plan::pattern::fits;

/// The servers that connections may lead to.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Patterns of hosts, with `*` for any text; none for any host.
    pub hosts: Vec<String>,
    /// Patterns of hosts, and ports, that are refused in any case: the API server's own.
    pub refused: Vec<(String, u16)>,
}

impl Allowed {
    /// Whether a connection may lead to this URL.
    ///
    /// # Errors
    /// Why not, in a few words.
    pub fn check(&self, url: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|_| "the URL does not parse".to_owned())?;
        let host = spelled(url.host_str().unwrap_or_default());
        let address = host.parse().ok();
        let port = url.port_or_known_default().unwrap_or_default();
        if let Some(what) = address.and_then(forbidden) {
            return Err(format!("{host} is {what}"));
        }
        let meant = address.map_or_else(|| host.clone(), |address| unwrapped(address).to_string());
        let is_meant = |other: &str| fits(&spelled(other), &meant);
        if self
            .refused
            .iter()
            .any(|(other, other_port)| is_meant(other) && *other_port == port)
        {
            return Err(format!("{host} is the Kubernetes API server"));
        }
        let allowed = |pattern: &String| fits(&spelled(pattern), &host);
        if self.hosts.is_empty() || self.hosts.iter().any(allowed) {
            Ok(())
        } else {
            Err(format!(
                "{host} is not among the operator's allowed servers"
            ))
        }
    }
}

/// A host in the one spelling that is compared: `A.example.` and `a.example` are the same.
fn spelled(host: &str) -> String {
    host.trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), through NAT64 (RFC 6052) or
/// 6to4 (RFC 3056). Any other address as it is.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// Whether a cloud tells its machines about themselves there, outside the link-local range: Azure,
/// Alibaba, AWS (the whole range is for its own services) and Google.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [168, 63, 129, 16] | [100, 100, 100, 200]),
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254]
        ),
    }
}

/// What is wrong with an address that no deploy server has: link-local ones answer with the
/// credentials of the machine itself on many clouds.
pub(super) fn forbidden(address: IpAddr) -> Option<&'static str> {
    let address = unwrapped(address);
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        Some("a link-local address")
    } else if is_metadata(address) {
        Some("a cloud's metadata service")
    } else if address.is_unspecified() || address.is_multicast() {
        Some("not the address of a server")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Allowed;

    #[test]
    fn where_connections_may_lead() {
        let any = Allowed {
            hosts: vec![],
            refused: vec![
                ("10.0.0.1".to_owned(), 443),
                ("kubernetes.default.svc".to_owned(), 443),
                ("kubernetes.default.svc.*".to_owned(), 443),
            ],
        };
        let some = Allowed {
            hosts: vec!["*.example.org".to_owned()],
            refused: vec![],
        };
        for (allowed, url, fine) in [
            (&any, "https://octopus.example", true),
            (&any, "http://127.0.0.1:8080/octopus", true),
            (&any, "http://169.254.169.254/latest", false),
            (&any, "http://[fe80::1]/", false),
            (&any, "http://[::ffff:169.254.169.254]/", false),
            (&any, "http://169.254.169.254./", false),
            (&any, "http://[64:ff9b::169.254.169.254]/", false),
            (&any, "http://[2002:a9fe:a9fe::1]/", false),
            (&any, "http://[2002:a00:2::1]/", true),
            (&any, "http://[fd00:ec2::254]/", false),
            (&any, "http://[fd20:ce::254]/", false),
            (&any, "http://168.63.129.16/", false),
            (&any, "http://[::ffff:100.100.100.200]/", false),
            (&any, "http://100.100.100.201/", true),
            (&any, "http://0.0.0.0/", false),
            (&any, "https://kubernetes.default.svc./", false),
            (&any, "https://kubernetes.default.svc.corp.local/", false),
            (&any, "https://kubernetes.default.svc:8443/", true),
            (&any, "https://10.0.0.1./", false),
            (&any, "https://[64:ff9b::10.0.0.1]/", false),
            (&any, "https://10.0.0.1", false),
            (&any, "https://10.0.0.1:8443", true),
            (&any, "not a url", false),
            (&some, "https://a.example.org", true),
            (&some, "https://A.EXAMPLE.org:8443/x", true),
            (&some, "https://a.example.org./x", true),
            (&some, "https://example.org", false),
            (&some, "https://a.example.org.evil.test", false),
        ] {
            assert_eq!(allowed.check(url).is_ok(), fine, "{url}");
        }
    }
}
