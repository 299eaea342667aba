//! The bash script that one build runs. It outlives the endpoint and tells how far it is through files.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::buildspec::{Buildspec, OnFailure};

/// Appended to by the script: `<phase> start|SUCCEEDED|FAILED <milliseconds> <command>`.
pub(super) const PHASES: &str = "phases";
/// Written last: `0` when the build succeeded.
pub(super) const EXIT: &str = "exit";
/// One file for each exported variable.
pub(super) const EXPORTED: &str = "exported";
/// Everything the commands print.
pub(super) const OUTPUT: &str = "output.log";

/// Writes the script and its commands, each in a file of its own so that nothing needs quoting.
pub(super) fn write(folder: &Path, checkout: &Path, spec: &Buildspec) -> io::Result<()> {
    fs::create_dir_all(folder.join(EXPORTED))?;
    fs::create_dir_all(folder.join("commands"))?;
    let mut script = format!("folder={}\ncd {} || exit 1\n{PRELUDE}", quoted(folder), quoted(checkout));
    for (name, phase) in spec.phases() {
        let commands = phase.commands.iter().map(|command| ("commands", command));
        let finally = phase.finally.iter().map(|command| ("finally", command));
        let mut calls = String::new();
        for (number, (part, command)) in commands.chain(finally).enumerate() {
            let file = format!("{name}-{number}");
            fs::write(folder.join("commands").join(&file), command)?;
            let _ = writeln!(calls, "  {part} {file}");
        }
        // As on AWS, post_build runs also after a failed build phase; a failure of the phases before ends the build.
        let needs = if name == "post_build" { "aborted" } else { "failed" };
        let aborts = name != "build" && phase.on_failure == OnFailure::Abort;
        let continues = phase.on_failure == OnFailure::Continue;
        let _ = write!(
            script,
            "if [ -z \"${needs}\" ]; then\n  begin {name}\n{calls}  end {name} {} {}\nfi\n",
            if aborts { "abort" } else { "-" },
            if continues { "continue" } else { "-" },
        );
    }
    for name in &spec.env.exported_variables {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let _ = writeln!(script, "printf '%s' \"${{{name}-}}\" > \"$folder/{EXPORTED}/{name}\"");
        }
    }
    script.push_str("finish \"${failed:+1}\"\n");
    fs::write(folder.join("run.sh"), script)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

const PRELUDE: &str = r#"
failed= aborted= phase_failed= phase_command= current=
now() { printf '%s' "${EPOCHREALTIME:0:10}${EPOCHREALTIME:11:3}"; }
say() { printf '[Container] %(%Y/%m/%d %H:%M:%S)T %s\n' -1 "$1"; }
begin() {
  current=$1 phase_failed= phase_command=
  say "Entering phase $1"
  printf '%s start %s\n' "$1" "$(now)" >> "$folder/phases"
}
run() {
  local text; text=$(cat "$folder/commands/$1")
  say "Running command $text"
  eval "$text"
  local status=$?
  if [ $status -ne 0 ]; then
    phase_failed=1
    phase_command="Error while executing command: ${text%%$'\n'*}. Reason: exit status $status"
  fi
}
commands() { if [ -z "$phase_failed" ]; then run "$1"; fi; }
finally() { run "$1"; }
end() {
  current=
  if [ -n "$phase_failed" ]; then
    say "Phase $1 failed: $phase_command"
    printf '%s FAILED %s %s\n' "$1" "$(now)" "$phase_command" >> "$folder/phases"
    if [ "$3" != continue ]; then failed=1; fi
    if [ "$2" = abort ]; then aborted=1; fi
  else
    say "Phase $1 succeeded"
    printf '%s SUCCEEDED %s\n' "$1" "$(now)" >> "$folder/phases"
  fi
}
finish() {
  trap - EXIT
  printf '%s' "${1:-0}" > "$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
  exit "${1:-0}"
}
# A command that ends the shell ends the build, as on AWS.
trap 'status=$?; [ -n "$current" ] && printf "%s FAILED %s %s\n" "$current" "$(now)" "a command ended the shell with status $status" >> "$folder/phases"; finish 1' EXIT
"#;
