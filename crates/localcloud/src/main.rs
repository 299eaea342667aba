//! `localcloud`: the embedded AWS endpoint as a program.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use localcloud::clock::Clock;
use localcloud::runtime::{Runtime, docker};
use localcloud::{Cloud, Settings, engine, http};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// An AWS endpoint on this machine, for exactly the APIs that SmartAssist uses, with real tasks behind a real load balancer.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT; running tasks go on without it.
    Serve(Serve),
    /// Stop every task that an endpoint over this folder has left running.
    ///
    /// Tasks outlive their endpoint on purpose; an endpoint that is started again takes them up or replaces them.
    StopTasks {
        /// The endpoint's folder.
        #[arg(long, default_value = ".localcloud")]
        data_dir: PathBuf,
        /// Seconds to wait for the tasks' ends; each is killed at the end of its own stop timeout.
        #[arg(long, default_value_t = 130)]
        patience: u64,
        /// Also remove what the tasks kept in volumes of a Docker engine; the folder holds the other volumes.
        #[arg(long)]
        remove_volumes: bool,
    },
    /// Run one task to its end; started by the endpoint.
    #[command(hide = true)]
    Shim {
        /// The task's folder.
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Address to serve on; must be loopback.
    #[arg(long, default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Folder for everything that must survive a restart.
    #[arg(long, default_value = ".localcloud")]
    data_dir: PathBuf,
    /// How many times faster than on AWS model waits pass (canary minutes, bake, health-check intervals).
    #[arg(long, default_value_t = 1.0, value_parser = time_scale)]
    time_scale: f64,
    /// The region to play.
    #[arg(long, default_value = "ap-northeast-1")]
    region: String,
    /// What runs tasks.
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Auto)]
    runtime: RuntimeChoice,
    /// The Docker engine's address.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    docker: String,
    /// A local git checkout behind a repository id, as `owner/name=PATH`.
    #[arg(long = "source", value_parser = key_value)]
    sources: Vec<(String, String)>,
    /// A checkout of RustSec's advisory database, for image scans; without one, images cannot be scanned.
    #[arg(long, value_name = "DIR", env = "ADVISORY_DB")]
    advisories: Option<PathBuf>,
    /// A variable for every build's environment, as `KEY=VALUE`.
    #[arg(long = "build-env", value_parser = key_value)]
    build_env: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuntimeChoice {
    /// A Docker engine if one answers, otherwise processes.
    Auto,
    /// Processes that unpack the pushed image.
    Process,
    /// Containers; refused when no engine answers.
    Docker,
}

/// Decides what runs tasks.
async fn runtime(choice: RuntimeChoice, engine: String) -> anyhow::Result<Runtime> {
    match choice {
        RuntimeChoice::Process => Ok(Runtime::Process),
        RuntimeChoice::Auto | RuntimeChoice::Docker if docker::answers(&engine).await => Ok(Runtime::Docker(engine)),
        RuntimeChoice::Auto => Ok(Runtime::Process),
        RuntimeChoice::Docker => {
            bail!("no Docker engine answers on {engine}\nhint: start it, set DOCKER_HOST, or choose --runtime process")
        }
    }
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (1.0..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 1 to 1000 is expected".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is expected".to_owned()),
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Shim { folder } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(localcloud::runtime::shim::run(&folder))?)
        }
        Command::StopTasks { data_dir, patience, remove_volumes } => {
            let tasks = data_dir.join("tasks");
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (stopped, left) = tokio
                .block_on(localcloud::runtime::stop_all(&tasks, Duration::from_secs(patience)))
                .with_context(|| format!("cannot read {}", tasks.display()))?;
            if left > 0 {
                bail!("{left} of {stopped} tasks still run\nhint: wait for their stop timeout and try again");
            }
            if remove_volumes {
                tokio
                    .block_on(docker::remove_volumes(&data_dir))
                    .context("volumes stay\nhint: start the Docker engine and try again")?;
            }
            println!("{}", serde_json::json!({ "schema": 1, "stopped": stopped }));
            Ok(())
        }
        Command::Serve(serve) => {
            tracing_subscriber::fmt()
                .with_env_filter(
                    tracing_subscriber::EnvFilter::try_from_env("LOCALCLOUD_LOG").unwrap_or_else(|_| "info".into()),
                )
                .with_writer(std::io::stderr)
                .init();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run(serve))
        }
    }
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    if !serve.listen.ip().is_loopback() {
        bail!("{} is not a loopback address; the endpoint gives everyone who reaches it full control", serve.listen);
    }
    let listener =
        TcpListener::bind(serve.listen).await.with_context(|| format!("cannot listen on {}", serve.listen))?;
    let settings = Settings {
        listen: listener.local_addr()?,
        data_dir: std::path::absolute(&serve.data_dir)?,
        region: serve.region,
        sources: serve.sources.into_iter().map(|(name, path)| (name, path.into())).collect::<BTreeMap<_, _>>(),
        build_env: serve.build_env,
        advisories: serve.advisories.as_deref().map(std::path::absolute).transpose()?,
        runtime: runtime(serve.runtime, serve.docker).await?,
        shim: Some(std::env::current_exe()?),
    };
    let cloud = Cloud::open(settings, Clock::system(serve.time_scale))?;
    let runtime = cloud.settings().runtime.name();
    tracing::info!(endpoint = cloud.endpoint(), time_scale = serve.time_scale, runtime, "the endpoint serves");

    // The listeners are bound by now, so whoever reads the URL finds them serving.
    let reconcilers = engine::start(&cloud);
    println!("{}", cloud.endpoint());
    let shutdown = watch::Sender::new(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            shutdown.send_replace(true);
        }
    });
    http::serve(cloud, listener, shutdown).await?;
    for reconciler in reconcilers {
        reconciler.abort();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
