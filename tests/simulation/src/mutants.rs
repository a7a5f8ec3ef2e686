//! Mutants: small patches that break the operator on purpose, in `tests/mutants`. Each names the
//! tests that must catch it; one that lives is an oracle to be found.
//!
//! They are tried in a copy of the tree, so that nobody's files are touched.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};

/// A patch of the operator, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// The name of its file, without the ending.
    pub name: String,
    /// What it does.
    pub what: String,
    /// The tests that catch it, as `cargo test` is told.
    pub caught_by: String,
    /// Its file.
    pub path: PathBuf,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// These tests, and perhaps others, failed.
    Caught(Vec<String>),
    /// No test failed.
    Lives,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All mutants, by name.
///
/// # Errors
/// When a patch does not say what it does and who catches it.
pub fn all(root: &Path) -> Result<Vec<Mutant>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root.join("tests/mutants"))? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("patch")) {
            all.push(Mutant::read(path)?);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

impl Mutant {
    fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path)?;
        let mut lines = text.lines();
        let what = lines.next().unwrap_or_default().to_owned();
        let caught_by = lines
            .next()
            .and_then(|line| line.strip_prefix("caught by: "))
            .with_context(|| format!("{} does not say who catches it", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            what,
            caught_by: caught_by.to_owned(),
            path,
        })
    }

    /// Whether the patch still applies to the tree at `root`.
    ///
    /// # Errors
    /// What git says against it.
    pub fn applies(&self, root: &Path) -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(root).args(["apply", "--check"]);
        // Also in a tree that is no repository, but lies in one.
        git.env("GIT_CEILING_DIRECTORIES", root.join("..").canonicalize()?);
        run(git.arg(self.path.canonicalize()?)).map(drop)
    }
}

/// A copy of the tree in which mutants are tried. What it builds stays for the next time.
pub struct Bench {
    root: PathBuf,
    tree: PathBuf,
    built: PathBuf,
}

impl Bench {
    /// A copy of what is in the repository's files now, uncommitted changes included.
    ///
    /// # Errors
    /// When git cannot make it.
    pub fn new(root: &Path) -> Result<Self> {
        let root = root.canonicalize()?;
        let tree = root.join("target/mutants/tree");
        // Not the tree's own: cargo would take what is built of one for the other's.
        let built = root.join("target/mutants/built");
        fs::create_dir_all(&built)?;
        let bench = Self { root, tree, built };
        bench.drop_tree();
        let now = bench.snapshot()?;
        let add = ["worktree", "add", "--force", "--detach"];
        git(&bench.root, &add, &bench.tree).context("no copy of the tree")?;
        git(&bench.tree, &["checkout", "--quiet", "--detach"], &now)?;
        Ok(bench)
    }

    /// A commit of all files as they are, made with an index of its own.
    fn snapshot(&self) -> Result<String> {
        let index = self.root.join("target/mutants/index");
        let step = |words: &[&str]| -> Result<String> {
            let mut git = Command::new("git");
            git.current_dir(&self.root).args(words);
            git.env("GIT_INDEX_FILE", &index);
            for who in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{who}_NAME"), "mutate");
                git.env(format!("GIT_{who}_EMAIL"), "mutate@localhost");
            }
            let output = run(&mut git)?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        step(&["read-tree", "HEAD"])?;
        step(&["add", "--all"])?;
        let tree = step(&["write-tree"])?;
        step(&["commit-tree", &tree, "-p", "HEAD", "-m", "To be mutated"])
    }

    /// Checks that tests which are to catch a mutant find nothing wrong without one.
    ///
    /// # Errors
    /// When they do, or when there are none.
    pub fn healthy(&self, tests: &str) -> Result<()> {
        self.clean()?;
        let output = self.cargo(tests, None)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`{tests}` fails without any mutant:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            !text.contains("test result: ok. 0 passed"),
            "`{tests}` names no test"
        );
        Ok(())
    }

    /// Lets the tests of a mutant loose on it.
    ///
    /// # Errors
    /// When it does not apply or does not compile.
    pub fn try_it(&self, mutant: &Mutant) -> Result<Fate> {
        self.clean()?;
        git(&self.tree, &["apply"], &mutant.path)?;
        self.judge(mutant)
    }

    /// Takes everything back that was done to the copy.
    fn clean(&self) -> Result<()> {
        git(&self.tree, &["checkout", "--quiet", "--"], ".").map(drop)
    }

    fn judge(&self, mutant: &Mutant) -> Result<Fate> {
        let built = self.cargo(&mutant.caught_by, Some("--no-run"))?;
        ensure!(
            built.status.success(),
            "it does not compile:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let tested = self.cargo(&mutant.caught_by, None)?;
        if tested.status.success() {
            return Ok(Fate::Lives);
        }
        let text = String::from_utf8_lossy(&tested.stdout).into_owned();
        let failed = |line: &str| {
            let rest = line.strip_prefix("test ")?;
            let (name, how) = rest.rsplit_once("...")?;
            how.trim_start()
                .starts_with("FAILED")
                .then(|| name.trim().to_owned())
        };
        let caught: Vec<String> = text.lines().filter_map(failed).collect();
        if caught.is_empty() {
            bail!("its tests did not come to an end:\n{text}");
        }
        Ok(Fate::Caught(caught))
    }

    fn cargo(&self, tests: &str, flag: Option<&str>) -> Result<Output> {
        if tests.starts_with("--lib plan") {
            self.alone()?;
        }
        let mut words = tests.split_whitespace();
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.built)
            .args(["test", "--package", "apikey-operator"]);
        match words.next_back() {
            Some(filter) => cargo.args(words).args(flag).args(["--", filter]),
            None => bail!("no test is named"),
        };
        Ok(cargo.output()?)
    }

    /// The planner's own tests need nothing but the planner and its words: the rest would be built
    /// again for each mutant. The packages stay by name, so that nothing else is built another way.
    fn alone(&self) -> Result<()> {
        let manifest = self.tree.join("tests/simulation/Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        let stays = |line: &&str| !line.starts_with("apikey-operator");
        let kept: Vec<&str> = text.lines().filter(stays).collect();
        if kept.len() < text.lines().count() {
            fs::write(&manifest, kept.join("\n"))?;
            for package in ["simulation", "testbed"] {
                fs::write(self.tree.join("tests").join(package).join("src/lib.rs"), "")?;
            }
            fs::write(
                self.tree.join("src/lib.rs"),
                "pub mod api;\npub mod plan;\n",
            )?;
        }
        Ok(())
    }

    fn drop_tree(&self) {
        // There may be none.
        let remove = ["worktree", "remove", "--force"];
        drop(git(&self.root, &remove, &self.tree));
        drop(git(&self.root, &["worktree"], "prune"));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.drop_tree();
    }
}

fn git(folder: &Path, words: &[&str], last: impl AsRef<OsStr>) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(folder).args(words).arg(last);
    run(&mut git).map(drop)
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().context("git does not run")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output)
}
