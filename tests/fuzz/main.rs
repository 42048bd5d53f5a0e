//! Every decoder of bytes from outside takes any bytes: it refuses or reads them, without panic and in
//! bounded memory.
//!
//! Inputs are mutations of valid encodings. `LOCUS_FUZZ_EXECUTIONS` says how many a target gets (default
//! 20,000 for decoders in memory, a hundredth of that for those that read files). Execution N of a target
//! is the same on every machine; a panic names both, and `LOCUS_FUZZ_TARGET` with `LOCUS_FUZZ_FIRST` begins
//! there.

mod mutate;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use targets::{Cost, Target};

const EXECUTIONS: u64 = 20_000;
/// Executions of a cheap target to one of a target that reads files.
const FILE_SHARE: u64 = 100;
/// Most memory that the whole run may hold, in kB.
const PEAK_KB_MAX: u64 = 256 * 1024;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn run(target: &Target) {
    let wanted = number("LOCUS_FUZZ_EXECUTIONS").unwrap_or(EXECUTIONS);
    let executions = match target.cost {
        Cost::Memory => wanted,
        Cost::File => wanted.div_ceil(FILE_SHARE),
    };
    let first = number("LOCUS_FUZZ_FIRST").unwrap_or(0);
    for valid in &target.valid {
        assert!((target.decode)(valid), "{}: an unchanged encoding is refused", target.name);
    }
    let mut refused = 0;
    for execution in first..first + executions {
        let input = Mutator::new(target.name, execution).input(&target.valid);
        let taken = catch_unwind(AssertUnwindSafe(|| (target.decode)(&input)));
        let Ok(taken) = taken else {
            let shown = &input[..input.len().min(4096)];
            panic!("{} panics at execution {execution} on {} bytes: {shown:02x?}", target.name, input.len());
        };
        refused += u64::from(!taken);
    }
    // Control: the mutations reach the checks.
    assert!(refused > executions / 20, "{}: only {refused} of {executions} were refused", target.name);
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

#[test]
fn no_decoder_panics_or_takes_much_memory() {
    let only = std::env::var("LOCUS_FUZZ_TARGET").ok();
    let targets = targets::all();
    let chosen: Vec<&Target> =
        targets.iter().filter(|target| only.as_deref().is_none_or(|name| name == target.name)).collect();
    assert!(!chosen.is_empty(), "there is no target {only:?}");
    for target in chosen {
        run(target);
        let peak = peak_kb();
        assert!(peak <= PEAK_KB_MAX, "{}: {peak} kB were held", target.name);
    }
}

/// The machinery finds a planted fault: a decoder that trusts a length.
#[test]
fn a_decoder_that_trusts_a_length_is_found() {
    let valid = vec![vec![3, 1, 2, 3]];
    let decode =
        |bytes: &[u8]| bytes.split_first().is_some_and(|(length, rest)| rest[..usize::from(*length)].len() > 9);
    let faulty = |execution| {
        let input = Mutator::new("planted", execution).input(&valid);
        catch_unwind(|| decode(&input)).is_err()
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..1_000).filter(|execution| faulty(*execution)).count();
    std::panic::set_hook(hook);
    assert!(found > 10, "found {found} times");
}
