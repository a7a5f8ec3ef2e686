//! The table of imports in `docs/design.md`, held against the paths in `src/`.

mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use self::sight::{Sight, Waits, look, segments};
use crate::ladder::Rung;

/// The rung.
pub(crate) fn rung() -> Rung {
    Rung::new("layers")
        .plain("imports_keep_to_the_table", imports_keep_to_the_table)
        .plain(
            "what_must_not_be_built_in_is_not",
            what_must_not_be_built_in_is_not,
        )
        .plain(
            "what_is_against_the_table_is_seen",
            what_is_against_the_table_is_seen,
        )
        .plain(
            "what_the_table_allows_is_let_be",
            what_the_table_allows_is_let_be,
        )
        .plain(
            "what_nobody_needs_is_not_allowed",
            what_nobody_needs_is_not_allowed,
        )
}

fn imports_keep_to_the_table() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let house = House::new(
        &fs::read_to_string(root.join("docs/design.md"))?,
        &fs::read_to_string(root.join("Cargo.toml"))?,
        servers(&root.join("src/servers"))?,
    )?;
    let mut sources = Sources::new();
    read(&root.join("src"), &[], &mut sources)?;
    ensure!(sources.len() > 20, "only {} files were read", sources.len());
    let breaches = house.breaches(&sources)?;
    ensure!(
        breaches.is_empty(),
        "against the table in docs/design.md:\n{}",
        breaches.join("\n")
    );
    let idle = house.idle(&sources)?;
    ensure!(
        idle.is_empty(),
        "nobody needs what the table in docs/design.md allows:\n{}",
        idle.join("\n")
    );
    Ok(())
}

/// The operator is built without what `deny.toml` denies: a second crypto provider, OpenSSL.
fn what_must_not_be_built_in_is_not() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = Command::new(env!("CARGO"))
        .args(
            "tree --locked --package apikey-operator --edges normal,build --prefix none".split(' '),
        )
        .current_dir(root)
        .output()?;
    let tree = String::from_utf8(tree.stdout)?;
    let built_in: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ensure!(built_in.contains("rustls"), "cargo tree was not understood");
    let rules = fs::read_to_string(root.join("deny.toml"))?;
    let denied: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.split_once("{ crate = \"")?.1.split('"').next())
        .collect();
    ensure!(denied.contains(&"ring"), "deny.toml was not understood");
    let found: Vec<_> = denied
        .iter()
        .filter(|name| built_in.contains(*name))
        .collect();
    ensure!(found.is_empty(), "{found:?} must not be built in");
    Ok(())
}

/// The sources by the path of their module: `plan`, `key`, `facts`.
type Sources = BTreeMap<Vec<String>, String>;

fn read(folder: &Path, module: &[String], sources: &mut Sources) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a strange name")?;
        let inner = [module, &[name.to_owned()]].concat();
        if path.is_dir() {
            read(&path, &inner, sources)?;
        } else {
            let module = if name == "mod" {
                module.to_owned()
            } else {
                inner
            };
            sources.insert(module, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The servers: each has a folder with a `mod.rs`.
fn servers(folder: &Path) -> Result<Vec<String>> {
    let mut servers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("mod.rs").is_file() {
            servers.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(servers)
}

/// Who may use what.
struct House {
    rooms: BTreeMap<String, Rule>,
    /// The crates that the operator depends on, as paths name them.
    crates: BTreeSet<String>,
    servers: Vec<String>,
}

struct Rule {
    may_use: Vec<Vec<String>>,
    waits: Waits,
}

impl House {
    fn new(page: &str, manifest: &str, servers: Vec<String>) -> Result<Self> {
        let mut rooms = BTreeMap::new();
        let table = page
            .lines()
            .skip_while(|line| !line.starts_with("| room |"))
            .skip(2);
        for row in table.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
            let [room, may_use, never] = cells[..] else {
                bail!("a row has not three cells: {row}")
            };
            let room = quoted(room).next().context("a row without a room")?;
            let may_use = quoted(may_use).map(segments).collect();
            let waits = if quoted(never).any(|word| word == "async") {
                Waits::Never
            } else {
                Waits::Often
            };
            rooms.insert(room.to_owned(), Rule { may_use, waits });
        }
        let crates: BTreeSet<String> = manifest
            .lines()
            .skip_while(|line| *line != "[dependencies]")
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .map(|name| name.replace('-', "_"))
            .filter(|name| !name.is_empty())
            .collect();
        ensure!(
            !rooms.is_empty() && !crates.is_empty(),
            "there is no table, or no dependency"
        );
        Ok(Self {
            rooms,
            crates,
            servers,
        })
    }

    /// What is against the table, a line each.
    fn breaches(&self, sources: &Sources) -> Result<Vec<String>> {
        let code = self.code(sources)?;
        let breaches = code.iter().flat_map(|sight| self.breaches_of(sight));
        Ok(breaches.collect())
    }

    /// What the table allows, and no path in the room needs, a line each.
    fn idle(&self, sources: &Sources) -> Result<Vec<String>> {
        let code = self.code(sources)?;
        let needs = |room: &str, allowed: &[String]| {
            let of_room = code.iter().filter(|sight| sight.module[0] == room);
            let mut paths = of_room.flat_map(|sight| &sight.paths);
            paths.any(|path| path.starts_with(allowed))
        };
        let rooms = self.rooms.iter();
        let entries =
            rooms.flat_map(|(room, rule)| rule.may_use.iter().map(move |allowed| (room, allowed)));
        let idle = entries.filter(|(room, allowed)| !needs(room, allowed));
        Ok(idle
            .map(|(room, allowed)| format!("{room}: {}", allowed.join("::")))
            .collect())
    }

    /// What is seen in the files that are no test code.
    fn code(&self, sources: &Sources) -> Result<Vec<Sight<'_>>> {
        let mut sights = Vec::new();
        for (module, source) in sources {
            sights.push(look(module, source, &self.crates).with_context(|| module.join("::"))?);
        }
        let tests: Vec<_> = sights
            .iter()
            .flat_map(|sight| sight.tests.clone())
            .collect();
        sights.retain(|sight| !tests.iter().any(|test| sight.module.starts_with(test)));
        Ok(sights)
    }

    fn breaches_of(&self, sight: &Sight) -> Vec<String> {
        let place = sight.module.join("::");
        let room = sight.module[0].as_str();
        if room == "lib" {
            return Vec::new();
        }
        let Some(rule) = self.rooms.get(room) else {
            return vec![format!(
                "{place}: the table does not say what `{room}` may use"
            )];
        };
        let fits = |path: &[String]| {
            let own = path[0] == "crate" && path.get(1).is_none_or(|first| first == room);
            let named = rule.may_use.iter().any(|allowed| path.starts_with(allowed));
            (own || named) && !self.is_of_another_server(&sight.module, path)
        };
        let paths = sight.paths.iter().filter(|path| !fits(path));
        let mut breaches: Vec<_> = paths
            .map(|path| format!("{place} uses {}", path.join("::")))
            .collect();
        if sight.waits == Waits::Often && rule.waits == Waits::Never {
            breaches.push(format!("{place} is async"));
        }
        breaches
    }

    /// Whether one server uses another.
    fn is_of_another_server(&self, module: &[String], path: &[String]) -> bool {
        let server = |module: &[String]| match module {
            [room, name, ..] if room == "servers" && self.servers.contains(name) => {
                Some(name.clone())
            }
            _ => None,
        };
        match (server(module), server(&path[1..])) {
            (Some(one), Some(other)) => path[0] == "crate" && one != other,
            _ => false,
        }
    }
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A house of two servers, and what is against its table when `source` is the module `module`.
fn tried(module: &str, source: &str) -> Result<Vec<String>> {
    let page = "| room | may use | never |\n| --- | --- | --- |\n\
        | `plan` | `crate::api` `kube::core` | `async` |\n\
        | `servers` | `crate::plan::port` `tokio` | one server never imports another |\n";
    let manifest =
        "[dependencies]\ntokio = 1\nkube.workspace = true\nserde-json = \"1\"\n[lints]\n";
    let house = House::new(
        page,
        manifest,
        vec!["octopus".to_owned(), "stackstorm".to_owned()],
    )?;
    house.breaches(&Sources::from([(segments(module), source.to_owned())]))
}

fn what_is_against_the_table_is_seen() -> Result<()> {
    for (module, source, breach) in [
        ("plan", "use tokio::time;", "plan uses tokio::time"),
        (
            "plan",
            "use std::fmt; use {tokio::time as t};",
            "plan uses tokio::time",
        ),
        (
            "plan::key",
            "use kube::{core::Rule, Client};",
            "plan::key uses kube::Client",
        ),
        (
            "plan::key",
            "use crate::servers::*;",
            "plan::key uses crate::servers",
        ),
        ("plan", "pub use serde_json;", "plan uses serde_json"),
        ("plan", "extern crate tokio;", "plan uses tokio"),
        (
            "plan",
            "fn f() { crate::app::run() }",
            "plan uses crate::app::run",
        ),
        (
            "plan",
            "fn f(a: apikey_operator::app::A) {}",
            "plan uses crate::app::A",
        ),
        (
            "plan::key::facts",
            "fn f() { super::super::super::app::g() }",
            "plan::key::facts uses crate::app::g",
        ),
        (
            "plan",
            "mod m { fn f() { super::super::cli::g() } }",
            "plan uses crate::cli::g",
        ),
        (
            "plan",
            "fn f() { if a && b!(x, tokio::spawn(y)) {} }",
            "plan uses tokio::spawn",
        ),
        ("plan", "#[tokio::test] fn f() {}", "plan uses tokio::test"),
        (
            "plan",
            "#[derive(kube::CustomResource)] struct S;",
            "plan uses kube::CustomResource",
        ),
        (
            "plan",
            "fn f() -> impl kube::Resource { g::<::tokio::A>() }",
            "plan uses tokio::A",
        ),
        ("plan", "async fn f() {}", "plan is async"),
        ("plan", "fn f() { let a = async || 1; }", "plan is async"),
        ("plan", "trait T { async fn f(); }", "plan is async"),
        (
            "servers",
            "use crate::plan::key;",
            "servers uses crate::plan::key",
        ),
        (
            "servers::octopus::wire",
            "use crate::servers::stackstorm;",
            "servers::octopus::wire uses crate::servers::stackstorm",
        ),
        (
            "attic",
            "",
            "attic: the table does not say what `attic` may use",
        ),
    ] {
        let breaches = tried(module, source)?;
        ensure!(
            breaches.iter().any(|found| found == breach),
            "{source}: {breaches:?}"
        );
    }
    Ok(())
}

fn what_the_table_allows_is_let_be() -> Result<()> {
    for (module, source) in [
        (
            "plan",
            "use std::{fmt, time::Duration}; use crate::api::{self, ApiKey};",
        ),
        (
            "plan::key",
            "use super::{Stop, port::Fault}; use self::facts::*; use crate::plan::port;",
        ),
        (
            "plan",
            "use kube::core::Rule; fn f() { kube::core::g(); local::h(); Self::i() }",
        ),
        (
            "plan",
            "// use tokio;\n/* crate::app */ const A: &str = \"tokio::time\"; /// tokio::time\nfn f() {}",
        ),
        (
            "plan",
            "#[cfg(test)] mod tests { use tokio::time; async fn f() {} }",
        ),
        (
            "plan",
            "#[cfg(test)] use tokio::time; #[cfg(test)] fn f() { crate::app::g() }",
        ),
        (
            "servers",
            "mod octopus; async fn f() { octopus::g(crate::servers::stackstorm::h()).await }",
        ),
        (
            "servers::octopus",
            "use crate::servers::{http, octopus::wire}; use super::transport;",
        ),
        ("lib", "pub mod app; pub mod plan;"),
    ] {
        let breaches = tried(module, source)?;
        ensure!(breaches.is_empty(), "{source}: {breaches:?}");
    }
    let test_file = Sources::from([
        (segments("plan"), "#[cfg(test)] mod world;".to_owned()),
        (
            segments("plan::world::clock"),
            "use tokio::time;".to_owned(),
        ),
    ]);
    let house = House::new(
        "| room |\n\n| `plan` | | |",
        "[dependencies]\ntokio = 1",
        Vec::new(),
    )?;
    ensure!(house.breaches(&test_file)?.is_empty());
    Ok(())
}

fn what_nobody_needs_is_not_allowed() -> Result<()> {
    let page = "| room |\n\n| `plan` | `crate::api` `tokio::time` | |";
    let house = House::new(page, "[dependencies]\ntokio = 1", Vec::new())?;
    let source = "use crate::api::ApiKey; #[cfg(test)] mod tests { use tokio::time::sleep; }";
    let idle = house.idle(&Sources::from([(segments("plan"), source.to_owned())]))?;
    ensure!(idle == ["plan: tokio::time"], "{idle:?}");
    Ok(())
}
