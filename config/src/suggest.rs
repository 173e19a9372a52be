//! "Did you mean": the nearest of the known names.

/// The help for a name that is not among `known`: the nearest one, or all of them.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    kind: &str,
) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let list: Vec<String> = known.map(|known| format!("`{known}`")).collect();
    if list.is_empty() {
        format!("there are no {kind}")
    } else {
        format!("the {kind} are {}", list.join(", "))
    }
}

/// The one of `known` that `name` was probably meant to be: at most every third letter is wrong.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).max(1);
    known
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|near| near.1)
}

/// How many letters to insert, delete, replace or swap with their neighbour to get from `a` to `b`
/// (optimal string alignment). A long name is only compared by its first 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, want) in [
            ("", "", 0),
            ("mtu", "mtu", 0),
            ("", "mtu", 3),
            ("mttu", "mtu", 1),
            ("mut", "mtu", 1),
            ("lan", "wan", 1),
            ("device", "burst", 6),
        ] {
            assert_eq!(distance(a, b), want, "{a} {b}");
            assert_eq!(distance(b, a), want, "{b} {a}");
        }
    }

    #[test]
    fn suggestions() {
        let known = ["name", "device", "mtu"];
        let help = |name| did_you_mean(name, known.iter().copied(), "keys");
        assert_eq!(help("devcie"), "did you mean `device`?");
        assert_eq!(help("colour"), "the keys are `name`, `device`, `mtu`");
        assert_eq!(did_you_mean("lan", std::iter::empty(), "interfaces"), "there are no interfaces");
    }
}
