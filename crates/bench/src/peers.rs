//! Programs to compare with, installed when possible.

use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Finds and installs peers.
pub(crate) struct Peers {
    work: PathBuf,
}

impl Peers {
    pub(crate) fn new(work: PathBuf) -> Self {
        Self { work }
    }

    /// Whether `program`, of the Debian package of the same name, can be run.
    pub(crate) fn program(&self, program: &str) -> bool {
        if runs(Command::new(program).arg("--version")) {
            return true;
        }
        runs(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", program]))
            && runs(Command::new(program).arg("--version"))
    }

    /// A Python with `package` in it, in a virtual environment of the benchmarks.
    pub(crate) fn python_with(&self, package: &str) -> Option<PathBuf> {
        let folder = self.work.join("venv");
        let python = folder.join("bin/python");
        let import = format!("import {package}");
        if runs(Command::new(&python).args(["-c", &import])) {
            return Some(python);
        }
        let made = python.is_file() || runs(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let ready = made
            && runs(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]))
            && runs(Command::new(&python).args(["-c", &import]));
        ready.then_some(python)
    }
}

/// Whether a command can be started and succeeds; what it says goes nowhere.
fn runs(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{program} cannot be started"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
