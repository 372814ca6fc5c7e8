//! What processes take, as /proc tells: CPU time and memory.

use std::collections::HashMap;

/// How long a tick of /proc is, in us: a hundredth of a second on every Linux.
pub(crate) const TICK_US: f64 = 10_000.0;

/// What a process and all below it took until now, in ticks; and what those took that ended meanwhile.
pub(crate) fn ticks(root: u32) -> u64 {
    let stats = stats();
    family(&stats, root).into_iter().map(|process| stats[&process].ticks).sum()
}

/// A figure of /proc/…/status of a process and all below it, added up, in bytes: `VmRSS` now, `VmHWM` at most.
pub(crate) fn memory(root: u32, figure: &str) -> u64 {
    let of_one = |process: u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kb.unwrap_or(0) * 1024
    };
    family(&stats(), root).into_iter().map(of_one).sum()
}

/// A process and all below it, parents first.
pub(crate) fn processes(root: u32) -> Vec<u32> {
    family(&stats(), root)
}

/// The process that started this one.
pub(crate) fn parent(process: u32) -> Option<u32> {
    stats().get(&process).map(|stat| stat.parent)
}

struct Stat {
    parent: u32,
    /// Of itself, and of those of its children that are gone.
    ticks: u64,
}

fn stats() -> HashMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter_map(|process| Some((process, stat(process)?))).collect()
}

fn stat(process: u32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, which may hold anything, ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

fn family(stats: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut family: Vec<u32> = stats.contains_key(&root).then_some(root).into_iter().collect();
    let mut looked_at = 0;
    while let Some(&parent) = family.get(looked_at) {
        let children = stats.iter().filter(|(_, stat)| stat.parent == parent);
        family.extend(children.map(|(process, _)| *process));
        looked_at += 1;
    }
    family
}
