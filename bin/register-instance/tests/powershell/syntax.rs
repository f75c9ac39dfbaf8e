//! The script as a tree.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use tree_sitter::{Node, Parser, Tree};

pub(crate) const SCRIPT: &str = include_str!("../../windows/register-instance.ps1");

static TREE: LazyLock<Tree> = LazyLock::new(|| parse(SCRIPT));

/// The root of the script's tree.
pub(crate) fn root() -> Node<'static> {
    TREE.root_node()
}

pub(crate) fn parse(text: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
    parser.parse(text, None).unwrap()
}

thread_local! {
    /// What `children` has found, by node: a loop of the script asks for the same again and again.
    static CHILDREN: RefCell<HashMap<usize, Vec<Node<'static>>>> = RefCell::default();
}

/// The children that mean something: neither blanks nor comments, nor what only stands for how operators bind.
pub(crate) fn children(node: Node<'static>) -> Vec<Node<'static>> {
    if let Some(known) = CHILDREN.with_borrow(|known| known.get(&node.id()).cloned()) {
        return known;
    }
    let all = (0..node.child_count()).filter_map(|index| node.child(index));
    let meant = all.filter(|child| !matches!(child.kind(), "comment" | "command_argument_sep"));
    let found: Vec<_> = meant.map(unwrapped).collect();
    CHILDREN.with_borrow_mut(|known| known.insert(node.id(), found.clone()));
    found
}

fn unwrapped(node: Node<'static>) -> Node<'static> {
    let is_wrapper = node.kind().ends_with("_expression") && node.kind() != "left_assignment_expression";
    match node.child(0) {
        Some(one) if is_wrapper && node.child_count() == 1 => unwrapped(one),
        _ => node,
    }
}

/// The first child of a kind.
pub(crate) fn child(node: Node<'static>, kind: &str) -> Option<Node<'static>> {
    children(node).into_iter().find(|child| child.kind() == kind)
}

pub(crate) fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

/// Every line where the grammar finds no script.
pub(crate) fn errors(node: Node<'_>) -> Vec<usize> {
    let mut found = Vec::new();
    if node.is_error() || node.is_missing() {
        found.push(line(node));
    }
    let children = (0..node.child_count()).filter_map(|index| node.child(index));
    found.extend(children.flat_map(errors));
    found
}

/// Every node under one, itself included.
pub(crate) fn all(node: Node<'static>) -> Vec<Node<'static>> {
    let mut found = vec![node];
    found.extend(children(node).into_iter().flat_map(all));
    found
}
