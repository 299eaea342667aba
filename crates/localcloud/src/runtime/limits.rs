//! Memory and CPU limits of a task: cgroup v2 or v1 where this process may make groups, else a watchdog of the resident set.
//!
//! `RLIMIT_AS` would make allocations fail inside the task instead of killing it: the wrong behaviour and exit code.

use std::fs;
use std::path::{Path, PathBuf};

/// The limits that one task runs under.
#[derive(Debug)]
pub struct Limits {
    /// The group's folder in each hierarchy (one for v2).
    groups: Vec<PathBuf>,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// `memory.events` of a v2 group.
    V2(PathBuf),
    /// `memory.oom_control` of a v1 group.
    V1(PathBuf),
    Watchdog,
}

impl Limits {
    /// Makes the groups. Where none can be made, the shim's watchdog holds the memory limit and CPU is not limited.
    pub fn create(name: &str, memory_bytes: u64, cpu_units: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        v2(&root.join("localcloud"), name, memory_bytes, cpu_units)
            .or_else(|| v1(root, name, memory_bytes, cpu_units))
            .unwrap_or(Self { groups: vec![], memory: Memory::Watchdog })
    }

    /// Puts a process, and so its later children, under the limits.
    pub fn admit(&self, pid: u32) {
        for group in &self.groups {
            let _ = fs::write(group.join("cgroup.procs"), pid.to_string());
        }
    }

    /// True when no cgroup holds the memory limit.
    pub fn needs_watchdog(&self) -> bool {
        matches!(self.memory, Memory::Watchdog)
    }

    /// True when the kernel has killed a process of the group for its memory.
    pub fn out_of_memory(&self) -> bool {
        let file = match &self.memory {
            Memory::V2(group) => group.join("memory.events"),
            Memory::V1(group) => group.join("memory.oom_control"),
            Memory::Watchdog => return false,
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.any(|(key, value)| key == "oom_kill" && value.trim() != "0")
    }

    /// Removes the groups; a group still in use stays and is harmless.
    pub fn remove(&self) {
        self.groups.iter().for_each(|group| remove_group(group));
    }
}

/// Removes the groups of a name, whoever made them: for a task whose shim was killed.
pub fn remove(name: &str) {
    for parent in ["localcloud", "memory/localcloud", "cpu/localcloud"] {
        let group = Path::new("/sys/fs/cgroup").join(parent).join(name);
        if group.exists() {
            remove_group(&group);
        }
    }
}

fn remove_group(group: &Path) {
    // Killed processes leave their group a moment later.
    for _ in 0..20 {
        if fs::remove_dir(group).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn v2(parent: &Path, name: &str, memory_bytes: u64, cpu_units: u64) -> Option<Limits> {
    let root = parent.parent()?;
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        return None;
    }
    fs::create_dir_all(parent).ok()?;
    for folder in [root, parent] {
        let _ = fs::write(folder.join("cgroup.subtree_control"), "+memory +cpu");
    }
    let group = parent.join(name);
    fs::create_dir_all(&group).ok()?;
    if fs::write(group.join("memory.max"), memory_bytes.to_string()).is_err() {
        let _ = fs::remove_dir(&group);
        return None;
    }
    let _ = fs::write(group.join("memory.swap.max"), "0");
    let _ = fs::write(group.join("cpu.max"), format!("{} 100000", quota(cpu_units)));
    Some(Limits { groups: vec![group.clone()], memory: Memory::V2(group) })
}

fn v1(root: &Path, name: &str, memory_bytes: u64, cpu_units: u64) -> Option<Limits> {
    let memory = root.join("memory").join("localcloud").join(name);
    fs::create_dir_all(&memory).ok()?;
    if fs::write(memory.join("memory.limit_in_bytes"), memory_bytes.to_string()).is_err() {
        let _ = fs::remove_dir(&memory);
        return None;
    }
    let mut groups = vec![memory.clone()];
    let cpu = root.join("cpu").join("localcloud").join(name);
    if fs::create_dir_all(&cpu).is_ok() && fs::write(cpu.join("cpu.cfs_quota_us"), quota(cpu_units).to_string()).is_ok()
    {
        groups.push(cpu);
    }
    Some(Limits { groups, memory: Memory::V1(memory) })
}

/// Microseconds of CPU in each period of 100 ms: 1024 units are one core.
fn quota(cpu_units: u64) -> u64 {
    (cpu_units * 100_000 / 1024).max(1_000)
}

/// The resident set of a process in bytes, 0 when it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// CPU time that a process has used, in clock ticks (hundredths of a second), 0 when it is gone. See proc(5).
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}
