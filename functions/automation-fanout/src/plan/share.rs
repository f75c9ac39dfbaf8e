//! Sharing a list out over parts, and an absolute limit over parts that run at the same time.

/// Shares `total` out in proportion to the weights, at least `floor` to each. The shares add up to `total`;
/// nothing where it does not go round.
pub(super) fn share(total: u32, weights: &[usize], floor: u32) -> Option<Vec<u32>> {
    let part_count = u64::try_from(weights.len()).ok()?;
    let rest = u64::from(total).checked_sub(u64::from(floor) * part_count)?;
    let weights: Vec<u64> = weights.iter().map(|weight| u64::try_from(*weight).unwrap_or(u64::MAX).max(1)).collect();
    let sum: u64 = weights.iter().sum();
    let mut shares: Vec<u64> = weights.iter().map(|weight| u64::from(floor) + rest * weight / sum).collect();
    // What rounding left over goes to those that lost most by it.
    let mut by_loss: Vec<usize> = (0..shares.len()).collect();
    by_loss.sort_by_key(|index| (std::cmp::Reverse(rest * weights[*index] % sum), *index));
    let left_over = u64::from(total).checked_sub(shares.iter().sum())?;
    for index in by_loss.into_iter().take(usize::try_from(left_over).ok()?) {
        shares[index] += 1;
    }
    shares.into_iter().map(|share| u32::try_from(share).ok()).collect()
}

/// The items in as few chunks as possible, none longer than `max` and none much shorter than another.
pub(super) fn evenly(items: &[String], max: usize) -> impl Iterator<Item = &[String]> + Clone {
    let chunk_count = items.len().div_ceil(max);
    (0..chunk_count).map(move |chunk| {
        let bound = |chunk: usize| items.len() * chunk / chunk_count;
        &items[bound(chunk)..bound(chunk + 1)]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_follow_the_weights() {
        for (total, weights, floor, expected) in [
            (10, vec![50, 50], 1, Some(vec![5, 5])),
            (10, vec![50, 50, 20], 1, Some(vec![4, 4, 2])),
            (2, vec![50, 1], 1, Some(vec![1, 1])),
            (1, vec![50, 50], 1, None),
            (1, vec![50, 50], 0, Some(vec![1, 0])),
            (0, vec![50, 50], 0, Some(vec![0, 0])),
            (7, vec![3], 1, Some(vec![7])),
        ] {
            assert_eq!(share(total, &weights, floor), expected, "{total} over {weights:?}");
        }
    }

    #[test]
    fn chunks_are_few_and_even() {
        for (count, expected) in
            [(0, vec![]), (1, vec![1]), (50, vec![50]), (51, vec![25, 26]), (120, vec![40, 40, 40]), (150, vec![50; 3])]
        {
            let items: Vec<String> = (0..count).map(|n: usize| n.to_string()).collect();
            let sizes: Vec<usize> = evenly(&items, 50).map(<[String]>::len).collect();
            assert_eq!(sizes, expected, "{count}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_added(
            total in 0u32..=9_999_999,
            weights in proptest::collection::vec(1usize..=2_500, 1..=120),
            floor in 0u32..=1,
        ) {
            match share(total, &weights, floor) {
                Some(shares) => {
                    prop_assert_eq!(shares.iter().sum::<u32>(), total);
                    prop_assert!(shares.iter().all(|share| *share >= floor));
                }
                None => prop_assert!((total as usize) < weights.len() * floor as usize),
            }
        }
    }
}
