//! What one source file uses: `use` lines, paths in code, in macros and in attributes. Test code is
//! not looked at.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{
    Attribute, ExprAsync, ExprClosure, Item, ItemExternCrate, ItemMod, ItemUse, Macro, Meta,
    MetaList, Signature, UseTree,
};

/// Whether code is `async`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Somewhere it is, or may be.
    Often,
    /// Nowhere.
    Never,
}

/// What is seen in a file.
pub(super) struct Sight<'a> {
    /// The file's module.
    pub(super) module: Vec<String>,
    /// The paths that lead to our rooms (they begin with `crate`) or to other crates.
    pub(super) paths: BTreeSet<Vec<String>>,
    /// Whether there is something `async`.
    pub(super) waits: Waits,
    /// Modules in other files that are test code.
    pub(super) tests: Vec<Vec<String>>,
    crates: &'a BTreeSet<String>,
    /// The module that is looked at: the file's, or one within.
    here: Vec<String>,
}

/// The segments of a path.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

/// Looks at a file.
pub(super) fn look<'a>(
    module: &[String],
    source: &str,
    crates: &'a BTreeSet<String>,
) -> syn::Result<Sight<'a>> {
    let mut sight = Sight {
        module: module.to_owned(),
        paths: BTreeSet::new(),
        waits: Waits::Never,
        tests: Vec::new(),
        crates,
        here: module.to_owned(),
    };
    sight.visit_file(&syn::parse_file(source)?);
    Ok(sight)
}

impl Sight<'_> {
    fn note(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        let ups = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let path = match first.as_str() {
            "crate" => path.to_owned(),
            "apikey_operator" => [&["crate".to_owned()], &path[1..]].concat(),
            "super" => {
                let kept = self.here.len().saturating_sub(ups);
                [&["crate".to_owned()], &self.here[..kept], &path[ups..]].concat()
            }
            name if self.crates.contains(name) => path.to_owned(),
            _ => return,
        };
        self.paths.insert(path);
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) if name.ident == "self" => self.note(before),
            UseTree::Name(name) => self.note(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.note(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => {
                group
                    .items
                    .iter()
                    .for_each(|tree| self.note_tree(before, tree));
            }
        }
    }

    /// Notes the paths in tokens whose grammar is unknown.
    fn note_tokens(&mut self, tokens: &impl ToString) {
        let text = tokens.to_string().replace("::", " :: ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut at = 0;
        while at < words.len() {
            let mut path = vec![words[at].to_owned()];
            while let [colons, next, ..] = &words[at + 1..]
                && *colons == "::"
            {
                path.push((*next).to_owned());
                at += 2;
            }
            if path.len() > 1 {
                self.note(&path);
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Sight<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        } else if let Item::Mod(ItemMod {
            ident,
            content: None,
            ..
        }) = item
        {
            self.tests
                .push([&self.here[..], &[ident.to_string()]].concat());
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.note(&[item.ident.to_string()]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.note(&segments.collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        self.note_tokens(&mac.tokens);
        visit::visit_macro(self, mac);
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.note_tokens(&list.tokens);
        visit::visit_meta_list(self, list);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        if signature.asyncness.is_some() {
            self.waits = Waits::Often;
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast ExprAsync) {
        self.waits = Waits::Often;
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        if closure.asyncness.is_some() {
            self.waits = Waits::Often;
        }
        visit::visit_expr_closure(self, closure);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
