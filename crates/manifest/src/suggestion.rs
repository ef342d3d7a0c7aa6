//! "Did you mean": the known word closest to one that is not known.

/// The closest of `known` to `word`, when one is close enough to be meant.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > 64 {
        return None;
    }
    let normal = |word: &str| word.to_lowercase().replace('-', "_");
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&normal(word), &normal(candidate)), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        let known = ["memory", "cpu_time", "wall_time", "open_files"];
        for (word, meant) in [
            ("memroy", "memory"),
            ("Memory", "memory"),
            ("cpu-time", "cpu_time"),
            ("cputime", "cpu_time"),
            ("openfiles", "open_files"),
        ] {
            assert_eq!(closest(word, known), Some(meant));
        }
    }

    #[test]
    fn another_word_is_not() {
        assert_eq!(closest("colour", ["memory", "cpu_time"]), None);
        assert_eq!(closest(&"x".repeat(1000), ["x"]), None);
        assert_eq!(closest("", ["memory"]), None);
    }

    #[test]
    fn the_distance_counts_slips() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
