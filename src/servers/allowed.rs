//! Where connections may lead.

use std::net::IpAddr;

use reqwest::Url;

use crate::plan::pattern::fits;

/// The servers that connections may lead to.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Patterns of hosts, with `*` for any text; none for any host.
    pub hosts: Vec<String>,
    /// Hosts and ports that are refused in any case: the API server's own.
    pub refused: Vec<(String, u16)>,
}

impl Allowed {
    /// Whether a connection may lead to this URL.
    ///
    /// # Errors
    /// Why not, in a few words.
    pub fn check(&self, url: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|_| "the URL does not parse".to_owned())?;
        let host = url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        if let Some(what) = host.parse().ok().and_then(forbidden) {
            return Err(format!("{host} is {what}"));
        }
        if self
            .refused
            .iter()
            .any(|(other, other_port)| *other == host && *other_port == port)
        {
            return Err(format!("{host} is the Kubernetes API server"));
        }
        let allowed = |pattern: &String| fits(&pattern.to_ascii_lowercase(), &host);
        if self.hosts.is_empty() || self.hosts.iter().any(allowed) {
            Ok(())
        } else {
            Err(format!(
                "{host} is not among the operator's allowed servers"
            ))
        }
    }
}

/// What is wrong with an address that no deploy server has: link-local ones answer with the
/// credentials of the machine itself on many clouds.
pub(super) fn forbidden(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        Some("a link-local address")
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
            refused: vec![("10.0.0.1".to_owned(), 443)],
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
            (&any, "http://0.0.0.0/", false),
            (&any, "https://10.0.0.1", false),
            (&any, "https://10.0.0.1:8443", true),
            (&any, "not a url", false),
            (&some, "https://a.example.org", true),
            (&some, "https://A.EXAMPLE.org:8443/x", true),
            (&some, "https://example.org", false),
            (&some, "https://a.example.org.evil.test", false),
        ] {
            assert_eq!(allowed.check(url).is_ok(), fine, "{url}");
        }
    }
}
