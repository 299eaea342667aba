//! The `smartbot` program: configuration, threads, signals, exit codes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chatbot::app::App;
use chatbot::config::{self, Config, ProcessVariables, VARIABLES};
use chatbot::ledger::FLUSH;
use chatbot::server::{Drained, serve};
use chatbot::webhook::Webhooks;
use chatbot::{emf, healthcheck, logging};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const BAD_CONFIGURATION: u8 = 64;
/// How often what is over is removed.
const SWEEP: Duration = Duration::from_secs(3600);
/// How often the tenants file is looked at.
const RELOAD: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str()).collect();
    match arguments[..] {
        [] => run(),
        [Some("--healthcheck")] => check(),
        [Some("--version" | "-V")] => {
            println!("smartbot {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        [Some("--help" | "-h")] => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("smartbot: unknown arguments\n  hint: smartbot --help");
            ExitCode::from(USAGE)
        }
    }
}

fn help() -> String {
    let mut text = String::from(
        "SmartBot, the SmartAssist chat service.\n\n\
         Usage: smartbot                 serve until SIGTERM\n\
         \x20      smartbot --healthcheck   ask the server at LISTEN; 0 when it is healthy, otherwise 1\n\
         \x20      smartbot --version | --help\n\n\
         Variables:\n",
    );
    for variable in VARIABLES {
        let default = match variable.default {
            "" => String::new(),
            // It says how the default comes about.
            remark if remark.starts_with('(') => format!(" {remark}"),
            value => format!(" [{value}]"),
        };
        text.push_str(&format!("  {:<24}{}{default}\n", variable.name, variable.about));
    }
    text.push_str(
        "\nWithout TENANTS_STORE tenants are in TENANTS_FILE or, without that too, there is one, open to everybody.\n\n\
         Without CONVERSATIONS_DIR conversations go to /data/conversations if /data exists and can be\n\
         written, otherwise below the temporary directory (TMPDIR or /tmp), apart for each ENVIRONMENT.\n\n\
         Exit codes: 0 stopped after a complete drain; 1 failed, or connections were cut at the drain\n\
         deadline; 2 usage; 64 bad configuration.\n",
    );
    text
}

fn check() -> ExitCode {
    let address = match config::healthcheck_address(&ProcessVariables) {
        Ok(address) => address,
        Err(errors) => {
            eprintln!("smartbot: {errors}");
            return ExitCode::from(FAILURE);
        }
    };
    match healthcheck::check(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smartbot: {error}\n  hint: is the server running with the same LISTEN?");
            ExitCode::from(FAILURE)
        }
    }
}

fn run() -> ExitCode {
    let config = match Config::read(&ProcessVariables) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("smartbot: {errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    logging::start(config.log.clone());
    let mut runtime = match config.worker_threads {
        // Nothing is ever handed from thread to thread.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(config.worker_threads).max_blocking_threads(16).enable_all().build();
    let runtime = match runtime.context("the threads could not be started") {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    runtime.block_on(async {
        // Tenants may have to be read over the network, by code that waits for it.
        let settings = config.clone();
        match tokio::task::spawn_blocking(move || App::open(&settings)).await {
            Ok(Ok(app)) => match listen(config, app).await {
                Ok(Drained::Complete) => ExitCode::SUCCESS,
                Ok(Drained::Cut(_)) => ExitCode::from(FAILURE),
                Err(error) => fail(&error),
            },
            Ok(Err(errors)) => {
                eprintln!("smartbot: {errors}");
                ExitCode::from(BAD_CONFIGURATION)
            }
            Err(error) => fail(&error.into()),
        }
    })
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("smartbot: {error:#}");
    ExitCode::from(FAILURE)
}

async fn listen(config: Config, app: Arc<App>) -> anyhow::Result<Drained> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}\n  hint: is another process using it? LISTEN names another", config.listen)
    })?;
    tracing::info!(
        address = %listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        commit = config.release.commit,
        environment = config.release.environment,
        tenants = app.tenants.all().len(),
        "listening"
    );
    tokio::spawn(reload_tenants(Arc::clone(&app)));
    tokio::spawn(Webhooks::run(Arc::clone(&app)));
    tokio::spawn(write_counts(Arc::clone(&app)));
    tokio::spawn(sweep(Arc::clone(&app), config.retention));
    if let Some(interval) = config.emf {
        tokio::spawn(emf::write_for_ever(Arc::clone(&app), interval));
    }
    let models = Arc::clone(&app.models);
    tokio::spawn(async move { models.warm_up().await });
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            // Asked twice means now.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("asked to stop a second time: leaving at once");
            std::process::exit(i32::from(FAILURE));
        });
    };
    let drained = serve(listener, Arc::clone(&app), &config, stop).await;
    app.ledger.flush().await;
    match drained {
        Drained::Complete => tracing::info!("stopped: every reply was finished"),
        Drained::Cut(connections) => tracing::error!(connections, "stopped: connections cut at the drain deadline"),
    }
    Ok(drained)
}

/// Writes what was counted, again and again.
async fn write_counts(app: Arc<App>) {
    loop {
        tokio::time::sleep(FLUSH).await;
        app.ledger.flush().await;
    }
}

/// Removes what is over: now, and every hour.
async fn sweep(app: Arc<App>, retention: Duration) {
    loop {
        match app.store.sweep(retention).await {
            Ok(0) => {}
            Ok(conversations) => tracing::info!(conversations, "old conversations removed"),
            Err(error) => tracing::warn!(error = %error, "old conversations cannot be removed"),
        }
        let again = Arc::clone(&app);
        match tokio::task::spawn_blocking(move || again.idempotency.sweep()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "old idempotency keys cannot be removed"),
            Err(error) => tracing::error!(error = %error, "old idempotency keys could not be looked at"),
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// Takes up what another process, or a person, changed in the tenants file.
async fn reload_tenants(app: Arc<App>) {
    let mut failed = false;
    loop {
        tokio::time::sleep(RELOAD).await;
        let again = Arc::clone(&app);
        match tokio::task::spawn_blocking(move || again.tenants.reload()).await {
            Ok(Ok(true)) => tracing::info!(tenants = app.tenants.all().len(), "tenants reloaded"),
            Ok(Ok(false)) => {}
            // Said once, not every time: the tenants that were read before stay.
            Ok(Err(error)) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::error!(error = %error, "the tenants file cannot be taken up");
                }
                continue;
            }
            Err(error) => tracing::error!(error = %error, "the tenants file could not be read"),
        }
        failed = false;
    }
}
