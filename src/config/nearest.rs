//! Finds what somebody most likely meant: the candidate at the least edit distance.

/// The candidate nearest to `given`, unless even that one is too far off to be a slip.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&given, &candidate.to_ascii_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        // A third of the letters may be wrong, and two always: beyond that a guess confuses more than it helps.
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2) && *distance < candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in which exchanged neighbours cost one, the slip that fingers make most.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().take(100).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("lsiten", "listen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "xyz"), 3);
    }

    #[test]
    fn slips_are_found_and_wild_guesses_are_not() {
        let keys = ["listen", "limits", "data-dir"];
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("datadir", keys), Some("data-dir"));
        assert_eq!(nearest("LIMIT", keys), Some("limits"));
        assert_eq!(nearest("bananas", keys), None);
        assert_eq!(nearest("xy", ["on"]), None);
    }
}
