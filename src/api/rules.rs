//! The rules (CEL) that the API server holds manifests against, where the schema's own words do
//! not reach; by the type that they belong to.
//!
//! Each has a message that says what is wrong and, where it is not plain, what to do. A rule sees
//! one object alone: what needs a second one (does the block fit the type of the server?) is the
//! planner's. Everything that a rule walks over is bounded in the schema, because the API server
//! reckons the greatest cost of a rule beforehand and refuses definitions that may be slow.
//!
//! An optional field that is immutable is compared where it is *held*, with `has()`: a rule on the
//! field itself would let it be taken away and then set anew.

mod values;

use kube::core::Rule;

use super::period::PATTERN;
pub(super) use values::*;

/// The keyword under which a schema carries its rules.
pub(super) type Rules = Vec<Rule>;

fn rule(expression: impl Into<String>, message: &str) -> Rule {
    Rule::new(expression).message(message)
}

/// Refuses any change of a field that is always there.
fn immutable(field: &str) -> Rule {
    Rule::new(format!("self.{field} == oldSelf.{field}"))
        .message(format!("{field} is immutable").as_str())
}

/// Refuses any change of an optional field, its coming and going included.
fn immutable_option(field: &str) -> Rule {
    Rule::new(format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    ))
    .message(format!("{field} is immutable; it can neither be changed, nor added, nor removed").as_str())
}

/// The length of a period in seconds. CEL's own durations know no days: they are split off. Only
/// for a text that is a period, see [`is_period`].
fn seconds(period: &str) -> String {
    format!(
        "(({period}.contains('d') ? int({period}.split('d')[0]) * 86400 : 0) \
         + ({period}.endsWith('d') ? 0 : int(duration({period}.contains('d') ? {period}.split('d')[1] : {period}).getSeconds())))"
    )
}

/// Whether a text is a period. Rules that reckon with one must ask first: what the schema's pattern
/// refuses is shown to them all the same.
fn is_period(text: &str) -> String {
    format!("{text}.matches('{PATTERN}')")
}

/// Refuses a period, where there is one, that is shorter than so many seconds.
fn at_least(field: &str, least: u32, message: &str) -> Rule {
    let period = format!("self.{field}");
    rule(
        format!(
            "!has({period}) || !{} || {} >= {least}",
            is_period(&period),
            seconds(&period)
        ),
        message,
    )
}

/// Refuses two periods, where both are there, unless they are in this order.
fn in_order(shorter: &str, operator: &str, longer: &str, message: &str) -> Rule {
    let (shorter, longer) = (format!("self.{shorter}"), format!("self.{longer}"));
    rule(
        format!(
            "!has({shorter}) || !has({longer}) || !{} || !{} || {} {operator} {}",
            is_period(&shorter),
            is_period(&longer),
            seconds(&shorter),
            seconds(&longer),
        ),
        message,
    )
}

/// Rules of an ApiKey's spec.
pub(super) fn api_key() -> Rules {
    vec![
        immutable("serviceAccountRef"),
        immutable_option("secret.name"),
        immutable("secret.type"),
        at_least("lifetime", 60, "lifetime must be at least one minute"),
        in_order(
            "rotation.renewBefore",
            "<",
            "lifetime",
            "rotation.renewBefore must be shorter than lifetime",
        ),
        rule(
            "!(has(self.stackStorm) && has(self.elasticsearch))",
            "stackStorm and elasticsearch exclude each other: a key is on one server",
        ),
    ]
}

/// Rules of an ApiKey's rotation.
pub(super) fn rotation() -> Rules {
    vec![rule(
        "self.mode != 'Never' || !(has(self.renewBefore) || has(self.windows))",
        "renewBefore and windows have no meaning with mode Never: the key is not replaced",
    )]
}

/// Rules of an ApiKey's Secret.
pub(super) fn secret() -> Rules {
    vec![
        rule(
            "self.type in ['kubernetes.io/basic-auth', 'kubernetes.io/dockerconfigjson'] \
             || !self.type.matches('^(.*[.])?(kubernetes[.]io|k8s[.]io|helm[.]sh)/|^bootstrap[.]')",
            "type is reserved for Kubernetes or Helm; use Opaque, kubernetes.io/basic-auth or a type of your own",
        ),
        rule(
            "!has(self.data) || self.data.all(name, name.matches('^[-._a-zA-Z0-9]{1,253}$'))",
            "the names in data must be names of a Secret's entries: letters, digits, '-', '_' and '.'",
        ),
        rule(
            "!has(self.data) || !self.data.exists(name, name.startsWith('PREVIOUS_'))",
            "the names in data must not begin with PREVIOUS_: keepPrevious makes such entries",
        ),
        metadata_names("labels"),
        metadata_names("annotations"),
        reserved("labels"),
        reserved("annotations"),
    ]
}

fn metadata_names(field: &str) -> Rule {
    rule(
        format!(
            "!has(self.{field}) || self.{field}.all(name, \
             name.matches('^([a-z0-9.-]{{1,253}}/)?[A-Za-z0-9]([-._A-Za-z0-9]{{0,61}}[A-Za-z0-9])?$'))"
        ),
        &format!("the names in {field} must be valid names, such as example.org/team"),
    )
}

fn reserved(field: &str) -> Rule {
    rule(
        format!(
            "!has(self.{field}) || !self.{field}.exists(name, \
             name.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|helm[.]sh|argoproj[.]io|fluxcd[.]io|apikeys[.]dev)/'))"
        ),
        &format!(
            "{field} must not be those of kubernetes.io, k8s.io, helm.sh, argoproj.io, fluxcd.io or apikeys.dev: they would change who owns the Secret"
        ),
    )
}

/// Rules of a ServiceAccount's spec.
pub(super) fn service_account() -> Rules {
    vec![
        immutable("serverRef"),
        immutable_option("username"),
        immutable_option("realm"),
        rule(
            "(self.management == 'Self') == (oldSelf.management == 'Self')",
            "management cannot be changed to or from Self; make a new ServiceAccount",
        ),
        rule(
            "self.management != 'Self' || !has(self.username)",
            "username must not be given with management Self: the connection's credential says whose account it is",
        ),
        rule(
            "self.management == 'Managed' || !self.adopt",
            "adopt needs management Managed",
        ),
        rule(
            "self.management == 'Managed' || !has(self.deletionPolicy)",
            "deletionPolicy needs management Managed: any other account is never deleted",
        ),
        rule(
            "self.management == 'Managed' || self.foreignKeys != 'Revoke'",
            "foreignKeys Revoke needs management Managed",
        ),
        rule(
            "self.management == 'Managed' || !(has(self.displayName) || has(self.email) || self.disabled \
             || has(self.octopus) || has(self.elasticsearch))",
            "displayName, email, disabled, octopus and elasticsearch need management Managed: any other account is never changed",
        ),
        rule(
            "self.management == 'Observed' || !has(self.realm)",
            "realm needs management Observed: managed accounts are in the native realm",
        ),
        rule(
            "!(has(self.octopus) && (has(self.elasticsearch) || has(self.realm)))",
            "octopus excludes elasticsearch and realm: an account is on one server",
        ),
    ]
}

/// Rules of a team.
pub(super) fn team() -> Rules {
    vec![
        rule(
            "has(self.name) != has(self.id)",
            "a team is named by exactly one of name and id",
        ),
        rule(
            "has(self.name) || !has(self.space)",
            "space goes with name; an id needs none",
        ),
    ]
}

/// Rules of any connection.
pub(super) fn connection() -> Rules {
    let same_origin = |field: &str| {
        // Not `url()`: the API server cannot bound what comparing its parts costs.
        let origin = "find('^https?://[^/]+')";
        format!("self.{field}.{origin} == oldSelf.{field}.{origin}")
    };
    vec![
        immutable("type"),
        rule(
            same_origin("url"),
            "scheme, host and port of url are immutable; make a new connection for another server",
        ),
        rule(
            format!(
                "has(self.authUrl) == has(oldSelf.authUrl) && (!has(self.authUrl) || {})",
                same_origin("authUrl")
            ),
            "authUrl can neither be added, nor removed, nor moved to another scheme, host or port; make a new connection",
        ),
        rule(
            "!has(self.authUrl) || self.type == 'StackStorm'",
            "authUrl needs type StackStorm",
        ),
        rule(
            "!has(self.auth.bearer) || self.type == 'Elasticsearch'",
            "auth.bearer needs type Elasticsearch",
        ),
        rule(
            "!has(self.tls) || self.url.startsWith('https:') || (has(self.authUrl) && self.authUrl.startsWith('https:'))",
            "tls has no meaning for an http address",
        ),
        at_least("resync", 10, "resync must be at least 10 seconds"),
    ]
}

/// Rules of a namespaced connection's spec.
pub(super) fn deploy_server() -> Rules {
    let mut rules = connection();
    rules.push(rule(
        exactly_one(&["apiKey", "basic", "bearer"]),
        "auth must be exactly one of apiKey, basic and bearer",
    ));
    rules
}

/// Rules of a connection's spec for the cluster.
pub(super) fn cluster_deploy_server() -> Rules {
    let mut rules = connection();
    rules.push(rule(
        exactly_one(&["apiKey", "basic", "bearer", "workloadIdentity"]),
        "auth must be exactly one of apiKey, basic, bearer and workloadIdentity",
    ));
    rules.push(rule(
        "!has(self.auth.workloadIdentity) || self.type == 'Octopus'",
        "auth.workloadIdentity needs type Octopus",
    ));
    rules
}

fn exactly_one(ways: &[&str]) -> String {
    let given: Vec<_> = ways
        .iter()
        .map(|way| format!("has(self.auth.{way})"))
        .collect();
    format!("[{}].filter(given, given).size() == 1", given.join(", "))
}

/// Rules of the trust in certificates.
pub(super) fn tls() -> Rules {
    vec![
        rule(
            "has(self.caBundle) != has(self.caRef)",
            "tls must be exactly one of caBundle and caRef",
        ),
        rule(
            "!has(self.caBundle) || self.caBundle.contains('-----BEGIN CERTIFICATE-----')",
            "caBundle must hold certificates in PEM, beginning with -----BEGIN CERTIFICATE-----",
        ),
    ]
}

/// Rules of a key policy.
pub(super) fn key_policy() -> Rules {
    vec![
        at_least("maxLifetime", 60, "maxLifetime must be at least one minute"),
        at_least(
            "defaultLifetime",
            60,
            "defaultLifetime must be at least one minute",
        ),
        in_order(
            "defaultLifetime",
            "<=",
            "maxLifetime",
            "defaultLifetime must not be longer than maxLifetime",
        ),
    ]
}

/// Rules of a grant.
pub(super) fn grant() -> Rules {
    vec![at_least(
        "maxLifetime",
        60,
        "maxLifetime must be at least one minute",
    )]
}

/// Rules of the choice of namespaces.
pub(super) fn granted_namespaces() -> Rules {
    vec![
        rule(
            "(self.from == 'Names') == has(self.names)",
            "names must be given with from: Names, and with nothing else",
        ),
        rule(
            "(self.from == 'Selector') == has(self.selector)",
            "selector must be given with from: Selector, and with nothing else",
        ),
    ]
}
