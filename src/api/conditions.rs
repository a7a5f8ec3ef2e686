//! The words of conditions: types, statuses and reasons, and the one function that joins old
//! conditions and new ones.
//!
//! Decisions never read a condition back; it is written for people, `kubectl wait` and kstatus.
//! Invariant: a transition time moves only when the status flips, so a pass that finds what was
//! found before writes nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The greatest number of characters of a message; longer ones are cut.
pub const MESSAGE_CHARS: usize = 1_000;

/// What a condition speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// The object does what it is for.
    Ready,
    /// Work is under way and will go on by itself; absent when it is not.
    Reconciling,
    /// Nothing more will happen until a person acts; absent when that is not so.
    Stalled,
    /// `False` when the key that is in use works, but is not the one that is wanted now.
    UpToDate,
    /// A key's time is over, and its server takes it still; absent when that is not so.
    Overdue,
}

impl Type {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::UpToDate,
        Self::Overdue,
    ];

    /// The word in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::UpToDate => "UpToDate",
            Self::Overdue => "Overdue",
        }
    }
}

/// Whether what a condition speaks of is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// The word in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Declares the reasons: each word with what it means and what to do about it.
macro_rules! reasons {
    ($($name:ident: $meaning:literal, $fix:literal;)*) => {
        /// Why a condition is as it is. The page of reasons in the documentation is made from this.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$name),*]
            }

            /// The word in the condition.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it, in one sentence.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

reasons! {
    Ready:
        "All is as declared.",
        "Nothing is to be done.";
    WaitingForAccount:
        "The ServiceAccount that is named does not exist yet, or is not Ready.",
        "Apply the ServiceAccount, or see with `kubectl describe dsa` why it is not Ready.";
    WaitingForServer:
        "The connection that is named does not exist yet, or is not Ready.",
        "Apply the DeployServer or ClusterDeployServer, or see with `kubectl describe` why it is not Ready.";
    Minting:
        "A key is being made.",
        "Nothing is to be done; it takes seconds.";
    ServerUnreachable:
        "The deploy server cannot be reached, or gives no answer.",
        "Check that the server is up, and the url, the DNS name and the network policies on the way to it; the operator keeps trying.";
    CertificateNotTrusted:
        "The server's certificate is not signed by an authority that the connection trusts.",
        "Give the right authority in spec.tls.caBundle or spec.tls.caRef, or renew the server's certificate.";
    RedirectRefused:
        "The server sends us to another origin, where the credential must not go.",
        "Put the address that the server really answers at into spec.url of a new connection.";
    ProtocolError:
        "The server's answer makes no sense for a server of this type.",
        "Check spec.type and spec.url: often a proxy, a login page or another service answers there.";
    Throttled:
        "The server asks for patience.",
        "Nothing is to be done; lower spec.limits of the connection if it happens often.";
    CredentialMissing:
        "The Secret with the connection's credential, or the entry in it, does not exist.",
        "Create the Secret with the entry that spec.auth names.";
    CredentialNotOffered:
        "The Secret with the connection's credential is not offered for this use.",
        "Put the label `apikeys.dev/credential: \"true\"` on the Secret, if it is meant for this server.";
    CredentialRejected:
        "The server does not take the connection's credential.",
        "Put a valid credential into the Secret that spec.auth names; it is tried again at once.";
    TokenRefused:
        "There is no token to sign in with: Kubernetes gives none, or the server takes none in exchange for its own.",
        "Correct what the message names: the chart's value workloadIdentity, the audience in spec.auth, or the account's OIDC identity on the server.";
    Forbidden:
        "The connection's own account may not do this on the server.",
        "Give that account the permission that the message names, or use a credential that has it.";
    Rejected:
        "The server refuses what was asked.",
        "Read the server's own words in the message and correct the manifest.";
    NotGranted:
        "The ClusterDeployServer does not grant this to the namespace.",
        "Ask the platform team for a grant that covers it, or ask for less.";
    ServerNotAllowed:
        "The operator may not connect to this address.",
        "Ask whoever runs the operator to add the host to its allowed servers.";
    PolicyViolation:
        "The lifetime is longer than the connection's key policy, the grant or the server allows.",
        "Ask for a shorter spec.lifetime, or have the policy changed.";
    LifetimeClipped:
        "The key ends sooner than asked, because a policy, the server or our own credential's end does not allow more.",
        "Ask for a shorter spec.lifetime, or have what the message names changed.";
    AccountExists:
        "An account of this name exists on the server already, and adopt is false.",
        "Choose another spec.username, set spec.adopt to true, or declare the account as Observed.";
    AccountConflict:
        "Another ServiceAccount manages this account already.",
        "Delete one of the two, or give this one another spec.username or management Observed.";
    AccountNotFound:
        "The account does not exist on the server.",
        "Correct spec.username, or make the account, or let the operator make it with management Managed.";
    AccountDisabled:
        "The account is disabled on the server, so its keys do not work.",
        "Enable the account: spec.disabled for a Managed one, on the server for any other.";
    TeamNotFound:
        "A team that is named does not exist on the server, or not just once.",
        "Correct the team's name, give its space, or name it by its id.";
    SecretConflict:
        "A Secret of this name exists and is not this ApiKey's.",
        "Choose another name in spec.secret.name of a new ApiKey, delete the Secret, or take it over with spec.secret.adopt.";
    SecretRefused:
        "The cluster refuses the Secret: a quota, an admission policy, or its content.",
        "Read the message, and correct spec.secret, the quota or the policy; no key was made.";
    TemplateFailed:
        "A template in spec.secret.data does not render.",
        "Correct the template that the message names.";
    ProofFailed:
        "A key was made, but did not sign in as the declared account; it was revoked.",
        "Check on the server that the account may sign in and that no proxy strips the key; it is tried again.";
    InUse:
        "Other objects still depend on this one, so it is not deleted yet.",
        "Delete the objects that the message names, or leave it; it goes when they are gone.";
    IdentityChanged:
        "Another server answers at this address, or the credential is another account's than before.",
        "Bring back the former server or credential, or make a new connection for the new one.";
    IdentityShared:
        "Another installation of the operator uses the same identity, as in a cloned cluster.",
        "Do what the message says: give one of the two another installation id, or rotate what a backup has put back; then take the annotation off.";
    ClockSkew:
        "The server's clock is more than a minute from ours.",
        "Set the clock that is wrong; until then the difference is allowed for.";
    Suspended:
        "spec.suspend is true: nothing is made, rotated or healed.",
        "Set spec.suspend to false.";
    Expired:
        "The key has reached its end, and none follows.",
        "Nothing is to be done if that was meant; else make a new ApiKey, or see in the message why the rotation failed.";
    Revoked:
        "All keys of this ApiKey are revoked, as spec.revoked asks.",
        "Set spec.revoked to false for a new key.";
    Revoking:
        "Keys are being revoked on the server.",
        "Nothing is to be done; if the server is gone for ever, set spec.deletionPolicy to Retain.";
    Invalid:
        "The manifest contradicts itself, or does not fit the type of the server.",
        "Correct what the message names.";
}

/// What one pass found, for one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it speaks of.
    pub type_: Type,
    /// Whether it is so.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// One sentence for people, that names the fix where there is one.
    pub message: String,
    /// The generation of the object that was looked at.
    pub observed_generation: i64,
}

/// The conditions to write: those of `new`, in the order of [`Type`] (of two with the same type the
/// later counts), and after them whatever others have written in `old`, by name.
///
/// A transition time is kept from `old` unless the status flips. One of our types that is not in
/// `new` goes. Messages become one line of at most [`MESSAGE_CHARS`] characters.
pub fn merge(old: &[Condition], new: &[Finding], now: Timestamp) -> Vec<Condition> {
    let ours = Type::ALL.into_iter().filter_map(|type_| {
        let finding = new.iter().rfind(|finding| finding.type_ == type_)?;
        let before = old
            .iter()
            .find(|condition| condition.type_ == type_.as_str());
        Some(written(finding, before, now))
    });
    let mut others: Vec<Condition> = old
        .iter()
        .filter(|condition| {
            Type::ALL
                .iter()
                .all(|ours| ours.as_str() != condition.type_)
        })
        .cloned()
        .collect();
    others.sort_by(|a, b| a.type_.cmp(&b.type_));
    ours.chain(others).collect()
}

fn written(finding: &Finding, before: Option<&Condition>, now: Timestamp) -> Condition {
    let since = before
        .filter(|condition| condition.status == finding.status.as_str())
        .map_or_else(
            || super::time(now),
            |condition| condition.last_transition_time.clone(),
        );
    Condition {
        last_transition_time: since,
        message: one_line(&finding.message),
        observed_generation: Some(finding.observed_generation),
        reason: finding.reason.as_str().to_owned(),
        status: finding.status.as_str().to_owned(),
        type_: finding.type_.as_str().to_owned(),
    }
}

/// A message as conditions carry it: one line of at most [`MESSAGE_CHARS`] characters.
pub fn one_line(message: &str) -> String {
    let mut chars = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(MESSAGE_CHARS).collect();
    if chars.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::{Finding, MESSAGE_CHARS, Reason, Status, Type, merge};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn finding(type_: Type, status: Status, reason: Reason) -> Finding {
        Finding {
            type_,
            status,
            reason,
            message: "m".to_owned(),
            observed_generation: 1,
        }
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_flips() {
        let waiting = finding(Type::Ready, Status::False, Reason::WaitingForAccount);
        let minting = finding(Type::Ready, Status::False, Reason::Minting);
        let ready = finding(Type::Ready, Status::True, Reason::Ready);

        let first = merge(&[], &[waiting], at(10));
        assert_eq!(first[0].last_transition_time.0, at(10));
        let second = merge(&first, &[minting], at(20));
        assert_eq!(second[0].reason, "Minting");
        assert_eq!(second[0].last_transition_time.0, at(10));
        let third = merge(&second, std::slice::from_ref(&ready), at(30));
        assert_eq!(third[0].last_transition_time.0, at(30));
        assert_eq!(merge(&third, &[ready], at(40)), third);
    }

    #[test]
    fn times_are_written_in_whole_seconds() {
        let now = Timestamp::new(10, 999_999_999).unwrap();
        let ready = finding(Type::Ready, Status::True, Reason::Ready);
        assert_eq!(merge(&[], &[ready], now)[0].last_transition_time.0, at(10));
    }

    #[test]
    fn ours_come_in_order_and_go_others_stay() {
        let foreign = |type_: &str| Condition {
            last_transition_time: super::super::time(at(1)),
            message: String::new(),
            observed_generation: None,
            reason: "Theirs".to_owned(),
            status: "True".to_owned(),
            type_: type_.to_owned(),
        };
        let mut old = vec![foreign("example.com/Zoned"), foreign("example.com/Audited")];
        old.extend(merge(
            &[],
            &[finding(Type::Reconciling, Status::True, Reason::Minting)],
            at(2),
        ));
        let new = [
            finding(Type::UpToDate, Status::False, Reason::LifetimeClipped),
            finding(Type::Ready, Status::False, Reason::Minting),
            finding(Type::Ready, Status::True, Reason::Ready),
        ];
        let types: Vec<_> = merge(&old, &new, at(3))
            .into_iter()
            .map(|condition| (condition.type_, condition.status))
            .collect();
        let expected = [
            ("Ready", "True"),
            ("UpToDate", "False"),
            ("example.com/Audited", "True"),
            ("example.com/Zoned", "True"),
        ];
        assert_eq!(types, expected.map(|(t, s)| (t.to_owned(), s.to_owned())));
    }

    #[test]
    fn messages_are_one_bounded_line() {
        let mut long = finding(Type::Ready, Status::False, Reason::Rejected);
        long.message = format!("a\nb{}", "ø".repeat(MESSAGE_CHARS));
        let message = merge(&[], &[long], at(1)).remove(0).message;
        assert_eq!(message.chars().count(), MESSAGE_CHARS);
        assert!(message.starts_with("a bø") && message.ends_with("ø…"));
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do() {
        for reason in Reason::all() {
            for sentence in [reason.meaning(), reason.fix()] {
                assert!(
                    sentence.ends_with('.') && sentence.len() > 10,
                    "{reason:?}: {sentence}"
                );
            }
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }
}
