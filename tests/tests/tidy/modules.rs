//! No two modules import each other, straight or in a circle.
//!
//! A module and the modules inside of it are one house: what is compared is siblings, at every level.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, UseTree};

/// The path of a module inside its crate, and of anything else that is named.
type Names = Vec<String>;

/// A crate as its modules name each other.
#[derive(Default)]
struct House {
    /// Each module, with what it takes from other modules under a name of its own.
    modules: BTreeMap<Names, BTreeMap<String, Names>>,
    /// Who names what.
    references: Vec<(Names, Names)>,
}

impl House {
    fn read(library: &Path) -> Self {
        let mut house = Self::default();
        house.add_file(library, &Names::new());
        house
    }

    fn of_text(text: &str) -> Self {
        let mut house = Self::default();
        house.add_module(&Names::new(), &syn::parse_file(text).unwrap().items, &[]);
        house
    }

    fn add_file(&mut self, file: &Path, module: &Names) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let folder = match file.file_stem().unwrap().to_str().unwrap() {
            "lib" | "main" => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add_module(module, &parsed.items, &[folder]);
    }

    /// Modules in files of their own are looked for in `folder`.
    fn add_module(&mut self, module: &Names, items: &[Item], folder: &[PathBuf]) {
        self.modules.entry(module.clone()).or_default();
        // What is named may stand below, so the modules come first.
        for item in items {
            if let Item::Mod(ItemMod { ident, content, attrs, .. }) = item
                && !is_for_tests(attrs)
            {
                let inner: Names = module.iter().cloned().chain([ident.to_string()]).collect();
                let folder: Vec<PathBuf> = folder.iter().map(|folder| folder.join(ident.to_string())).collect();
                match (content, folder.first()) {
                    (Some((_, items)), _) => self.add_module(&inner, items, &folder),
                    (None, Some(path)) => self.add_file(&path.with_extension("rs"), &inner),
                    (None, None) => panic!("{ident}: a module without a body"),
                }
            }
        }
        for item in items.iter().filter(|item| !matches!(item, Item::Mod(_))) {
            Reader { house: self, module }.visit_item(item);
        }
    }

    /// The module that something belongs to, through the names under which modules hand it on.
    fn home(&self, named: &Names) -> Names {
        let mut place = Names::new();
        let mut hops = 0;
        let mut rest = named.clone();
        while let Some(next) = (!rest.is_empty()).then(|| rest.remove(0)) {
            let inner: Names = place.iter().cloned().chain([next.clone()]).collect();
            if self.modules.contains_key(&inner) {
                place = inner;
            } else if let Some(origin) = self.modules[&place].get(&next).filter(|_| hops < 10) {
                hops += 1;
                rest.splice(0..0, origin.iter().cloned());
                place.clear();
            } else {
                break;
            }
        }
        place
    }

    /// Siblings that name each other in a circle, as a path from one of them back to it.
    fn circle(&self) -> Option<String> {
        let mut edges: BTreeMap<Names, BTreeSet<Names>> = BTreeMap::new();
        for (from, named) in &self.references {
            let home = self.home(named);
            let shared = from.iter().zip(&home).take_while(|(one, other)| one == other).count();
            if shared < from.len() && shared < home.len() {
                edges.entry(from[..=shared].to_vec()).or_default().insert(home[..=shared].to_vec());
            }
        }
        edges.keys().find_map(|start| {
            let mut paths = vec![vec![start]];
            let mut seen = BTreeSet::new();
            while let Some(path) = paths.pop() {
                for next in edges.get(*path.last()?).into_iter().flatten() {
                    if next == start {
                        let names: Vec<String> = path.iter().chain([&start]).map(|names| names.join("::")).collect();
                        return Some(names.join(" -> "));
                    }
                    if seen.insert(next) {
                        paths.push(path.iter().copied().chain([next]).collect());
                    }
                }
            }
            None
        })
    }
}

struct Reader<'a> {
    house: &'a mut House,
    module: &'a Names,
}

impl Reader<'_> {
    /// A path from the root of the crate. None if it leads out of the crate or stays in the module.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let mut base = match path.first()?.as_str() {
            "crate" => Names::new(),
            "self" | "super" => self.module.clone(),
            first => {
                let inner: Names = self.module.iter().cloned().chain([first.to_owned()]).collect();
                return self
                    .house
                    .modules
                    .contains_key(&inner)
                    .then(|| self.module.iter().cloned().chain(path.iter().cloned()).collect());
            }
        };
        for name in path {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    fn read_use(&mut self, before: &[String], tree: &UseTree) {
        let mut taken = |name: &str, own: String| {
            let path: Vec<String> = before.iter().cloned().chain([name.to_owned()]).collect();
            if let Some(origin) = self.absolute(&path) {
                self.house.references.push((self.module.clone(), origin.clone()));
                self.house.modules.entry(self.module.clone()).or_default().insert(own, origin);
            }
        };
        match tree {
            UseTree::Path(path) => {
                let before: Vec<String> = before.iter().cloned().chain([path.ident.to_string()]).collect();
                self.read_use(&before, &path.tree);
            }
            UseTree::Name(name) => taken(&name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => taken(&rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => taken("*", "*".to_owned()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.read_use(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.read_use(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(named) = self.absolute(&names).filter(|_| names.len() > 1) {
            self.house.references.push((self.module.clone(), named));
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|condition| condition.tokens.to_string().contains("test"))
    })
}

#[test]
fn no_modules_name_each_other_in_a_circle() {
    let root = crate::template::repository();
    let folders = ["functions", "crates", "bin", "tests"].map(|folder| root.join(folder));
    let crates =
        folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let libraries = crates.chain([root.join("tests")]).map(|one| one.join("src/lib.rs")).filter(|path| path.is_file());
    let mut circles = Vec::new();
    let mut module_count = 0;
    for library in libraries {
        let house = House::read(&library);
        module_count += house.modules.len();
        circles.extend(house.circle().map(|circle| format!("{}: {circle}", library.display())));
    }
    assert!(module_count > 100, "only {module_count} modules were read");
    assert!(circles.is_empty(), "modules in a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_wherever_it_is_hidden() {
    let circle = |text: &str| House::of_text(text).circle();
    let straight = "mod a { use crate::b::B; } mod b { pub struct B; impl B { fn of(_: crate::a::A) {} } }";
    assert_eq!(circle(straight).as_deref(), Some("a -> b -> a"));
    let of_three = "mod a { use super::b; } mod b { use crate::c::{C, D}; } mod c { fn c() { crate::a::f() } }";
    assert_eq!(circle(of_three).as_deref(), Some("a -> b -> c -> a"));
    let handed_on =
        "mod room { pub use one::One; mod one { use super::Two; } pub use two::Two; mod two { use super::One; } }";
    assert_eq!(circle(handed_on).as_deref(), Some("room::one -> room::two -> room::one"));
    let renamed = "use b::B as C; mod a { fn f(_: crate::C) {} } mod b { use crate::a::*; }";
    assert_eq!(circle(renamed).as_deref(), Some("a -> b -> a"));
    let none = "mod a { use crate::b::B; mod inner { use super::A; } #[cfg(test)] mod tests { use crate::b; } }
        mod b { #[cfg(test)] use crate::a::A; #[cfg(test)] mod tests { use crate::a::A; } fn f(_: std::a::A) {} }";
    assert_eq!(circle(none), None);
}
