//! Spreading computation over the machine's cores.

use std::{num::NonZero, panic::resume_unwind, thread};

/// Most threads of one computation.
const THREADS_MAX: usize = 16;

/// Threads to compute with.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX)
}

/// `work` on every item, in the order of the items; the first error wins. Blocks the caller.
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let share = items.len().div_ceil(threads()).max(1);
    if share >= items.len() {
        return items.iter().map(work).collect();
    }
    let parts: Vec<Result<Vec<R>, E>> = thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Result<Vec<R>, E>>()))
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut results = Vec::with_capacity(items.len());
    for part in parts {
        results.extend(part?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_and_the_first_error_wins() {
        for count in [0u32, 1, 2, 7, 1000] {
            let items: Vec<u32> = (0..count).collect();
            let doubled: Result<Vec<u32>, ()> = map(&items, |item| Ok(2 * item));
            assert_eq!(doubled, Ok(items.iter().map(|item| 2 * item).collect()));
        }
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(map(&items, |item| if *item % 300 == 299 { Err(*item) } else { Ok(()) }), Err(299));
    }
}
