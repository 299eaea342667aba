//! `bootstrap`: what Lambda starts. `_HANDLER` says which of the two functions it is.

use std::process::ExitCode;

use canary::{Function, Settings};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, error.hint()),
    };
    let function = match Function::start(settings).await {
        Ok(function) => function,
        Err(error) => return fail(&error, "the runtime provided.al2023 has the system's certificates"),
    };
    let answer = |event: LambdaEvent<Value>| function.answer(event);
    match lambda_runtime::run(service_fn(answer)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, "this program is started by Lambda, or by something that speaks its runtime API"),
    }
}

fn fail(error: &impl std::fmt::Display, hint: &str) -> ExitCode {
    eprintln!("error: {error}\nhint: {hint}");
    ExitCode::FAILURE
}
