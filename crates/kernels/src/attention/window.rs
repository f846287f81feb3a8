//! Local attention: each row attends to the rows of its text that are near it.
//!
//! Keys that no query of a task is near are not packed, and panels that no query of a tile is near are not multiplied, so the cost
//! grows with the text's length and not with its square. Tasks and tiles begin where panels of the whole text's keys do: a
//! key's place in its panel, and so the order in which weights are added up, does not depend on how queries are cut.

use std::ops::Range;

/// The places in `keys`, ascending rows, of those that a query among `queries` is near: at most `window` rows away.
pub(super) fn near(keys: &[usize], queries: &Range<usize>, window: Option<usize>) -> Range<usize> {
    let Some(window) = window else { return 0..keys.len() };
    let (from, to) = (queries.start.saturating_sub(window), queries.end.saturating_add(window));
    keys.partition_point(|&key| key < from)..keys.partition_point(|&key| key < to)
}

/// The same from the start of a panel on.
pub(super) fn near_from_panel(
    keys: &[usize],
    queries: &Range<usize>,
    window: Option<usize>,
    panel: usize,
) -> Range<usize> {
    let near = near(keys, queries, window);
    near.start / panel * panel..near.end
}

/// The most queries of a task: so few that their keys stay in the second-level cache, so many that packing the same keys for two
/// tasks is rare.
pub(super) fn most_queries(window: Option<usize>) -> usize {
    window.map_or(usize::MAX, |window| window.saturating_mul(4).max(256))
}

/// The longest row of scores for a tile of `rows` queries, out of `keys` of them.
pub(super) fn most_scores(window: Option<usize>, keys: usize, rows: usize, panel: usize) -> usize {
    let all = keys.next_multiple_of(panel);
    match window {
        None => all,
        // Wherever in a panel they begin.
        Some(window) => all.min(window.min(keys).saturating_mul(2).saturating_add(rows + 2 * panel)),
    }
    .next_multiple_of(panel)
}
