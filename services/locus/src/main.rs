//! The `locus` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    locus::run()
}
