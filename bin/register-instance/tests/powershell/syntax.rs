//! The script as a tree.

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

/// The children that mean something: neither blanks nor comments.
pub(crate) fn children(node: Node<'static>) -> Vec<Node<'static>> {
    let all = (0..node.child_count()).filter_map(|index| node.child(index));
    all.filter(|child| !matches!(child.kind(), "comment" | "command_argument_sep")).collect()
}

/// The node inside of those that only stand for how operators bind.
pub(crate) fn unwrapped(node: Node<'static>) -> Node<'static> {
    match children(node).as_slice() {
        [one] if node.kind().ends_with("_expression") && node.kind() != "array_expression" => unwrapped(*one),
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
