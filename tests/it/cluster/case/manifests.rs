//! Manifests. `more` are further fields of the spec in YAML's flow style, such as `lifetime: 1d`.

use super::super::stage::OPERATOR;
use super::Case;

impl Case {
    /// The Secret `octopus` with this credential, offered.
    pub(crate) fn offered(&self, credential: &str) -> String {
        self.secret("octopus", "{apikeys.dev/credential: 'true'}", credential)
    }

    /// The Secret `octopus` with the administrator's name and this password, offered.
    pub(crate) fn offered_password(&self, password: &str) -> String {
        self.offered_sign_in("octopus", &self.start.admin.username, password)
    }

    /// A Secret with a user's name and password, offered.
    pub(crate) fn offered_sign_in(&self, name: &str, username: &str, password: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}, \
             labels: {{apikeys.dev/credential: 'true'}}}}, \
             stringData: {{username: {username}, password: '{password}'}}}}"
        )
    }

    /// A Secret with a credential.
    pub(crate) fn secret(&self, name: &str, labels: &str, credential: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}, \
             labels: {labels}}}, stringData: {{api-key: '{credential}'}}}}"
        )
    }

    /// The DeployServer `octopus`.
    pub(crate) fn server(&self, more: &str) -> String {
        self.server_at(&self.url(), more)
    }

    /// The DeployServer `octopus`, at this address.
    pub(crate) fn server_at(&self, url: &str, more: &str) -> String {
        self.object(
            "DeployServer",
            "octopus",
            &format!(
                "type: Octopus, url: '{url}', \
                 auth: {{apiKey: {{secretRef: {{name: octopus, key: api-key}}}}}}, {more}"
            ),
        )
    }

    /// The DeployServer `octopus`, which is signed in to by password.
    pub(crate) fn server_by_password(&self) -> String {
        let url = self.url();
        self.object(
            "DeployServer",
            "octopus",
            &format!(
                "type: Octopus, url: '{url}', resync: 10s, \
                 auth: {{basic: {{secretRef: {{name: octopus}}}}}}"
            ),
        )
    }

    /// The ServiceAccount `ci`.
    pub(crate) fn account(&self, more: &str) -> String {
        self.account_named("ci", more)
    }

    /// A ServiceAccount.
    pub(crate) fn account_named(&self, name: &str, more: &str) -> String {
        self.object(
            "ServiceAccount",
            name,
            &format!("serverRef: {{kind: DeployServer, name: octopus}}, {more}"),
        )
    }

    /// The ApiKey `ci`.
    pub(crate) fn key(&self, more: &str) -> String {
        self.key_named("ci", more)
    }

    /// An ApiKey of the ServiceAccount `ci`.
    pub(crate) fn key_named(&self, name: &str, more: &str) -> String {
        self.object(
            "ApiKey",
            name,
            &format!("serviceAccountRef: {{name: ci}}, {more}"),
        )
    }

    /// An object of one of our kinds.
    pub(crate) fn object(&self, kind: &str, name: &str, spec: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{{apiVersion: apikeys.dev/v1alpha1, kind: {kind}, \
             metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"
        )
    }

    /// Credential and connection.
    pub(crate) fn ground(&self) -> [String; 2] {
        [
            self.offered(&self.start.operator.key),
            self.server("resync: 10s"),
        ]
    }

    /// Credential, connection, account and key.
    pub(crate) fn whole(&self) -> [String; 4] {
        let [credential, server] = self.ground();
        [credential, server, self.account(""), self.key("")]
    }

    /// A ClusterDeployServer of the case's name, with its credential in the operator's namespace.
    pub(crate) fn cluster_server(&self, more: &str) -> [String; 2] {
        let (name, url, key) = (&self.namespace, self.url(), &self.start.operator.key);
        [
            format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {OPERATOR}}}, \
                 stringData: {{api-key: '{key}'}}}}"
            ),
            format!(
                "{{apiVersion: apikeys.dev/v1alpha1, kind: ClusterDeployServer, \
                 metadata: {{name: {name}}}, spec: {{type: Octopus, url: '{url}', resync: 10s, \
                 auth: {{apiKey: {{secretRef: {{name: {name}, key: api-key}}}}}}, {more}}}}}"
            ),
        ]
    }
}
