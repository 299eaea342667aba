//! The servers under test: started, asked for their processor time and memory, limited, stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A running server. It ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From the start of the process until it answered.
    pub(crate) started_in: Duration,
    child: Child,
}

/// Processor time and memory of a server and its children.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss: u64,
    pub(crate) pss: u64,
}

/// A free port on the loopback interface.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?)
}

impl Server {
    /// Starts a server and waits until `path` answers 200.
    pub(crate) fn start(command: &mut Command, address: SocketAddr, path: &str) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { address, started_in: Duration::ZERO, child };
        while !answers(address, path) {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended before it answered ({status})");
            }
            if began.elapsed() > Duration::from_secs(30) {
                bail!("{name} did not answer GET {path} within 30 seconds");
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        server.started_in = began.elapsed();
        Ok(server)
    }

    /// What the server has used since it began.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage { cpu: Duration::ZERO, rss: 0, pss: 0 };
        for pid in self.processes()? {
            usage.cpu += cpu(pid)?;
            let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            usage.rss += kilobytes(&memory, "Rss:");
            usage.pss += kilobytes(&memory, "Pss:");
        }
        Ok(usage)
    }

    /// The process and those it started.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let mut found = vec![self.child.id()];
        for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if stat(pid).is_ok_and(|fields| fields.get(1).is_some_and(|parent| *parent == self.child.id().to_string()))
            {
                found.push(pid);
            }
        }
        Ok(found)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the process is our own child and has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // It has had its time. Nothing can be done about a failure here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(address: SocketAddr, path: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = [0; 12];
    let asked = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}

/// The fields of /proc/PID/stat after the command's name.
fn stat(pid: u32) -> Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("/proc/PID/stat has no name in it")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn cpu(pid: u32) -> Result<Duration> {
    let fields = stat(pid)?;
    let ticks = |position: usize| fields.get(position).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: sysconf only reads.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Ok(Duration::from_micros((ticks(11) + ticks(12)) * 1_000_000 / per_second))
}

fn kilobytes(memory: &str, name: &str) -> u64 {
    let line = memory.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A control group of 0.25 CPU and 512 MB: what one task has. Removed with this value.
#[derive(Debug)]
pub(crate) struct Task {
    cpu: PathBuf,
    memory: Option<PathBuf>,
    root: PathBuf,
}

impl Task {
    const MEMORY: &'static str = "536870912";

    /// Makes the group, under cgroup v1 or v2; it takes root.
    pub(crate) fn create() -> Result<Self> {
        let name = format!("smartbot-bench-{}", std::process::id());
        let base = PathBuf::from("/sys/fs/cgroup");
        if base.join("cgroup.controllers").exists() {
            let group = base.join(name);
            fs::create_dir(&group).context("cannot make a control group")?;
            let task = Self { cpu: group.clone(), memory: None, root: base };
            fs::write(group.join("cpu.max"), "25000 100000").context("the cpu controller is not delegated")?;
            fs::write(group.join("memory.max"), Self::MEMORY).context("the memory controller is not delegated")?;
            return Ok(task);
        }
        let (cpu, memory) = (base.join("cpu").join(&name), base.join("memory").join(&name));
        fs::create_dir(&cpu).context("cannot make a control group")?;
        let task = Self { cpu: cpu.clone(), memory: Some(memory.clone()), root: base };
        fs::create_dir(&memory).context("cannot make a control group for memory")?;
        fs::write(cpu.join("cpu.cfs_period_us"), "100000")?;
        fs::write(cpu.join("cpu.cfs_quota_us"), "25000")?;
        fs::write(memory.join("memory.limit_in_bytes"), Self::MEMORY)?;
        Ok(task)
    }

    /// Limits a server from now on.
    pub(crate) fn admit(&self, server: &Server) -> Result<()> {
        for pid in server.processes()? {
            for group in [Some(&self.cpu), self.memory.as_ref()].into_iter().flatten() {
                fs::write(group.join("cgroup.procs"), pid.to_string())?;
            }
        }
        Ok(())
    }

    /// Lets a server out again.
    pub(crate) fn release(&self, server: &Server) -> Result<()> {
        let roots = match &self.memory {
            Some(_) => vec![self.root.join("cpu"), self.root.join("memory")],
            None => vec![self.root.clone()],
        };
        for pid in server.processes()? {
            for root in &roots {
                fs::write(root.join("cgroup.procs"), pid.to_string())?;
            }
        }
        Ok(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for group in [Some(&self.cpu), self.memory.as_ref()].into_iter().flatten() {
            if let Err(error) = fs::remove_dir(group) {
                eprintln!("the control group {} stays: {error}", group.display());
            }
        }
    }
}
