//! Which addresses are in force after the vendor has listed them: what would lock it out is not believed.

use ipnet::IpNet;

use crate::tencent_api::{Egress, IpList};

/// How many ranges are taken. The vendor's lists have some dozens; each request is compared with all of them.
const NETWORKS_MAX: usize = 5000;

/// The last good ranges of each [`Egress`], in its order.
pub(crate) type Lists = [Vec<IpNet>; Egress::ALL.len()];

/// Why an answer was not taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// In general.
    pub(crate) kind: &'static str,
    /// In words.
    pub(crate) text: String,
}

impl Doubt {
    fn new(kind: &'static str, text: String) -> Self {
        Self { kind, text }
    }
}

/// What is in force after these answers, and what is odd about them. Each list is taken by itself: an empty one does not
/// replace one that has ranges, and one that cannot be read whole adds to it and takes nothing away.
///
/// # Errors
/// There is nothing that can be put in force: no list yet, and none that can be read whole.
pub(crate) fn merge(before: &Lists, answers: &[IpList]) -> Result<(Lists, Option<Doubt>), Doubt> {
    let mut merged = before.clone();
    let mut doubt = None;
    for (known, answer) in merged.iter_mut().zip(answers) {
        if answer.networks.len() > NETWORKS_MAX {
            let text = format!("the vendor's list has more than {NETWORKS_MAX} ranges");
            doubt = Some(Doubt::new("long", text));
        } else if let Some(example) = answer.unreadable.first() {
            let (count, example) = (answer.unreadable.len(), example.escape_debug());
            let text = format!(
                "entries of the vendor's list that are not addresses: {count}, for example `{example}`"
            );
            doubt = Some(Doubt::new("unreadable", text));
            if !known.is_empty() {
                let new = answer.networks.iter().filter(|range| !known.contains(range));
                let new: Vec<IpNet> = new.copied().collect();
                known.extend(new);
                known.truncate(NETWORKS_MAX);
            }
        } else if !answer.networks.is_empty() {
            known.clone_from(&answer.networks);
        } else if !known.is_empty() {
            doubt = Some(Doubt::new("empty", "the vendor's list has become empty".to_owned()));
        }
    }
    // Half of the first list would reject callbacks from the other half.
    let first = before.iter().all(Vec::is_empty);
    match doubt {
        Some(doubt) if first => Err(doubt),
        None if merged.iter().all(Vec::is_empty) => {
            Err(Doubt::new("empty", "the vendor's list is empty".to_owned()))
        }
        doubt => Ok((merged, doubt)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(words: &[&str]) -> Vec<IpNet> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    fn answer(words: &[&str], unreadable: &[&str]) -> IpList {
        let unreadable = unreadable.iter().map(|word| (*word).to_owned()).collect();
        IpList { networks: ranges(words), unreadable }
    }

    #[test]
    fn a_complete_answer_replaces_each_list() {
        let before = [ranges(&["10.0.0.0/8"]), ranges(&["192.0.2.0/24"])];
        let answers = [answer(&["203.0.113.7/32"], &[]), answer(&["192.0.2.0/25"], &[])];
        let expected = [ranges(&["203.0.113.7/32"]), ranges(&["192.0.2.0/25"])];
        assert_eq!(merge(&before, &answers), Ok((expected.clone(), None)));
        assert_eq!(merge(&Lists::default(), &answers), Ok((expected, None)));
    }

    #[test]
    fn an_empty_answer_removes_nothing() {
        let before = [ranges(&["10.0.0.0/8"]), Vec::new()];
        let (merged, doubt) =
            merge(&before, &[answer(&[], &[]), answer(&["192.0.2.1/32"], &[])]).unwrap();
        assert_eq!(merged, [ranges(&["10.0.0.0/8"]), ranges(&["192.0.2.1/32"])]);
        assert_eq!(doubt.unwrap().kind, "empty");
        let none = [answer(&[], &[]), answer(&[], &[])];
        assert_eq!(merge(&before, &none).unwrap().0, before);
        assert_eq!(merge(&Lists::default(), &none).unwrap_err().kind, "empty");
        // An app of one site may have no addresses at the other.
        let one = [answer(&["192.0.2.1/32"], &[]), answer(&[], &[])];
        assert_eq!(merge(&Lists::default(), &one).unwrap().1, None);
    }

    #[test]
    fn a_partly_readable_answer_only_adds_ranges() {
        let before = [ranges(&["10.0.0.0/8"]), Vec::new()];
        let answers = [answer(&["192.0.2.1/32", "10.0.0.0/8"], &["x\u{1b}"]), answer(&[], &[])];
        let (merged, doubt) = merge(&before, &answers).unwrap();
        assert_eq!(merged, [ranges(&["10.0.0.0/8", "192.0.2.1/32"]), Vec::new()]);
        assert!(doubt.unwrap().text.contains(r"1, for example `x\u{1b}`"));
        assert_eq!(merge(&Lists::default(), &answers).unwrap_err().kind, "unreadable");
    }

    #[test]
    fn a_list_over_the_bound_is_refused() {
        let one = |n: u32| IpNet::from(std::net::IpAddr::from(n.to_be_bytes()));
        let many: Vec<IpNet> = (0..).map(one).take(NETWORKS_MAX + 1).collect();
        let answers =
            [IpList { networks: many, unreadable: Vec::new() }, answer(&["192.0.2.1/32"], &[])];
        let before = [ranges(&["10.0.0.0/8"]), Vec::new()];
        let (merged, doubt) = merge(&before, &answers).unwrap();
        assert_eq!(merged, [ranges(&["10.0.0.0/8"]), ranges(&["192.0.2.1/32"])]);
        assert_eq!(doubt.unwrap().kind, "long");
        assert_eq!(merge(&Lists::default(), &answers).unwrap_err().kind, "long");
    }
}
