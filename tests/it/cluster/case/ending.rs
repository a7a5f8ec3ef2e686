//! How rows end.

use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, ListParams};
use testbed::twins::Effect;
use testbed::twins::octopus::KeyView;

use super::{Account, Case, Cluster, Key, Server};

impl Case {
    /// The key of this name is Ready, and its Secret holds one that works.
    pub(crate) async fn works_at(&self, name: &str) -> Result<KeyView> {
        self.ready(Key(name)).await?;
        let key = self.works(&self.value(name).await?);
        key.with_context(|| format!("the key of Secret {name} does not work"))
    }

    /// The key `ci` is Ready, its Secret holds a key that works for the account `ci`, no other key of
    /// ours lives, and so many were made in all.
    pub(crate) async fn healed(&self, minted: usize) -> Result<()> {
        let key = self.works_at("ci").await?;
        self.is_of_its_account(&key).await?;
        let living = self.living();
        ensure!(
            living.len() == 1 && living[0].id == key.id,
            "other keys live: {living:?}"
        );
        ensure!(
            self.minted() == minted,
            "{} keys were made instead of {minted}\n{}",
            self.minted(),
            self.story().await
        );
        Ok(())
    }

    /// That a key is of the account that the ServiceAccount `ci` asks for.
    async fn is_of_its_account(&self, key: &KeyView) -> Result<()> {
        let spec = &self.get(Account("ci")).await?.data["spec"];
        let own = format!("{}.ci", self.namespace);
        let asked = match (spec["management"].as_str(), spec["username"].as_str()) {
            (Some("Self"), _) => "apikey-operator",
            (_, named) => named.unwrap_or(&own),
        };
        let account = self.account_id(asked)?;
        ensure!(key.owner == account, "the key is not of {asked}: {key:?}");
        Ok(())
    }

    /// So many keys were made, and all of them live.
    pub(crate) fn healed_of(&self, keys: usize) -> Result<()> {
        let (minted, living) = (self.minted(), self.living());
        ensure!(
            minted == keys && living.len() == keys,
            "{minted} keys were made instead of {keys}, and of them live: {living:?}"
        );
        Ok(())
    }

    /// No key was ever asked for.
    pub(crate) fn unasked(&self) -> Result<()> {
        let asked = self.twin.sent(Effect::Mint);
        ensure!(asked == 0, "{asked} keys were asked for");
        Ok(())
    }

    /// The server was never spoken to.
    pub(crate) fn unheard(&self) -> Result<()> {
        let journal = self.twin.journal();
        ensure!(journal.is_empty(), "the server was asked: {journal:?}");
        Ok(())
    }

    /// Everything of ours is deleted, and nothing is left of it on the server or in the cluster.
    pub(crate) async fn end(&self) -> Result<()> {
        let kinds = [Key(""), Account(""), Server("")];
        for kind in kinds {
            self.api(kind)
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await?;
        }
        for kind in kinds {
            let found = self.api(kind).list(&ListParams::default()).await?;
            for object in found.items {
                let name = object.metadata.name.unwrap_or_default();
                let object = match kind {
                    Key(_) => Key(&name),
                    Account(_) => Account(&name),
                    _ => Server(&name),
                };
                self.gone(object).await?;
            }
        }
        let cluster = Cluster(&self.namespace);
        if self.api(cluster).get_opt(&self.namespace).await?.is_some() {
            self.delete(cluster).await?;
            self.gone(cluster).await?;
        }
        let left = self.living();
        ensure!(left.is_empty(), "keys are left: {left:?}");
        Ok(())
    }
}
