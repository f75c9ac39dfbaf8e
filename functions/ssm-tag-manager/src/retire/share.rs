//! Sharing the limit of a run fairly.

use std::collections::BTreeMap;

/// The items in an order in which their owners take turns: the first of each owner, then the second of each. Within an
/// owner the order stays, and so does the order of owners by their first item.
pub(super) fn take_turns<T, K: Ord>(items: Vec<T>, owner: impl Fn(&T) -> K) -> Vec<T> {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, T)> = Vec::with_capacity(items.len());
    for item in items {
        let count = counts.entry(owner(&item)).or_default();
        turns.push((*count, item));
        *count += 1;
    }
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_take_turns() {
        let items = vec!["a1", "a2", "a3", "b1", "c1", "b2"];
        assert_eq!(take_turns(items, |item| item.chars().next()), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }
}
