//! Progress bars on standard error.

use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use locus_client::{Progress, Stage};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often a bar without news moves.
const TICK: Duration = Duration::from_millis(120);
/// Most redraws of a bar in a second.
const DRAWS_PER_S: u8 = 10;

/// One bar that shows the stage at work.
pub(crate) struct Bars {
    bar: ProgressBar,
    stage: Mutex<Option<Stage>>,
}

impl Bars {
    /// A bar, drawn only when somebody watches.
    pub(crate) fn new(output: Output) -> Arc<Self> {
        let target = if output.draws_progress() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if output.draws_progress() {
            bar.enable_steady_tick(TICK);
        }
        Arc::new(Self { bar, stage: Mutex::new(None) })
    }

    /// Shows what is being done, in words, with a part of a whole when that is known.
    pub(crate) fn show(&self, what: &str, done: u64, total: u64) {
        self.bar.set_message(what.to_owned());
        self.bar.set_style(style(total));
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bars {
    fn report(&self, stage: Stage, done: u64, total: u64) {
        let mut current = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == Some(stage) {
            self.bar.set_length(total);
            self.bar.set_position(done);
        } else {
            *current = Some(stage);
            self.show(&stage.to_string(), done, total);
        }
    }
}

fn style(total: u64) -> ProgressStyle {
    let template = if total == 0 { "{spinner} {msg}" } else { "{spinner} {msg:26} [{bar:30}] {pos}/{len} {eta}" };
    // Both templates are constants that parse; were one not to, the plain bar would do.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
