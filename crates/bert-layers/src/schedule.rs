//! What is computed next, when several calls wait: who goes first, and who shares its batch. Only numbers; no threads, no clock.
//!
//! Short calls go before long ones, so that nobody waits for much more than it asks for; calls that are too small to fill the
//! threads share a batch. A long call that was overtaken by a good deal of later work gets every second turn, a batch's worth
//! of it at a time: nobody waits forever.

/// Calls of so many tokens share a batch freely. A longer one joins only a batch of its own length or more, which it does not delay
/// by much.
const SHORT: usize = 128;

/// How many batches' worth of later work may overtake a call before it gets turns.
const PATIENCE: usize = 2;

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What is left of it to compute.
    pub tokens: usize,
    /// The last layer that it needs, once that is known: only calls alike in it share a batch, or one would be computed further than
    /// it needs.
    pub deepest: Option<usize>,
    /// How many tokens of calls that came later were computed since it came, or since its last turn.
    overtaken: usize,
}

impl Waiting {
    /// A call that has just come.
    pub fn new(tokens: usize) -> Self {
        Self { tokens, deepest: None, overtaken: 0 }
    }
}

/// What is computed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The calls, counted as they wait; who goes first is in front.
    pub calls: Vec<usize>,
    /// How many tokens of the first call, at most; a text more than it where none would fit. All of the others are computed.
    pub limit: usize,
    /// Whether the first call was overtaken too often.
    pub turn: bool,
}

impl Batch {
    /// Of each of `count` calls that wait how many tokens are computed, at most.
    pub fn limits(&self, count: usize) -> Vec<usize> {
        let mut limits = vec![0; count];
        self.calls.iter().for_each(|&call| limits[call] = usize::MAX);
        self.calls.first().into_iter().for_each(|&call| limits[call] = self.limit);
        limits
    }
}

/// Decides.
#[derive(Debug)]
pub struct Schedule {
    budget: usize,
    /// The last batch was the turn of a call that had been overtaken.
    turn: bool,
}

impl Schedule {
    /// A schedule of batches of at most `budget` tokens, unless one call has more.
    pub fn new(budget: usize) -> Self {
        Self { budget, turn: false }
    }

    /// The next batch of what waits, which is in the order of arrival and not empty. Only [`begin`](Self::begin) makes it so.
    pub fn next(&self, waiting: &[Waiting]) -> Batch {
        let overtaken = |call: &Waiting| call.overtaken >= PATIENCE * self.budget;
        let mut by_length: Vec<usize> = (0..waiting.len()).collect();
        by_length.sort_by_key(|&call| waiting[call].tokens); // stable: of two alike the older one
        let turn = waiting.iter().position(overtaken).filter(|_| !self.turn);
        let first = turn.or(by_length.first().copied()).unwrap_or(0);
        let limit = if turn.is_some() { self.budget } else { usize::MAX };
        let mut calls = vec![first];
        let mut tokens = waiting.get(first).map_or(0, |call| call.tokens.min(limit));
        for call in by_length {
            let Waiting { tokens: more, deepest, .. } = waiting[call];
            let alike = deepest.zip(waiting[first].deepest).is_none_or(|(one, other)| one == other);
            if call == first || !alike {
                continue;
            }
            if tokens + more > self.budget || more > tokens.max(SHORT) {
                break;
            }
            calls.push(call);
            tokens += more;
        }
        Batch { calls, limit, turn: turn.is_some() }
    }

    /// The batch is computed now: who waits longer is overtaken.
    pub fn begin(&mut self, batch: &Batch, waiting: &mut [Waiting]) {
        self.turn = batch.turn;
        let mut later = 0;
        for (call, limit) in batch.limits(waiting.len()).into_iter().enumerate().rev() {
            let waiting = &mut waiting[call];
            waiting.overtaken = if limit > 0 { 0 } else { waiting.overtaken + later };
            later += waiting.tokens.min(limit);
        }
    }

    /// Whether a batch of `running` tokens is interrupted for a call of `tokens` that has just come: when it is one call, so long
    /// that the other would wait for much more than it asks for.
    pub fn gives_way(&self, running: usize, tokens: usize) -> bool {
        running > self.budget && tokens < running / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: usize = 1024;

    fn waiting(tokens: &[usize]) -> Vec<Waiting> {
        tokens.iter().map(|&tokens| Waiting::new(tokens)).collect()
    }

    fn next(tokens: &[usize]) -> Vec<usize> {
        Schedule::new(BUDGET).next(&waiting(tokens)).calls
    }

    #[test]
    fn the_shortest_goes_first_and_short_ones_share() {
        assert_eq!(next(&[512]), [0]);
        assert_eq!(next(&[512, 10]), [1], "a long call does not delay a short one");
        assert_eq!(next(&[512, 10, 20, 128, 128]), [1, 2, 3, 4]);
        assert_eq!(next(&[512; 10]), [0, 1], "as many as the budget allows, the oldest first");
        assert_eq!(next(&[20; 64]).len(), 1024 / 20);
        assert_eq!(next(&[5000, 3000]), [1], "a call beyond the budget is alone");
        assert_eq!(next(&[100, 120, 200, 500]), [0, 1, 2], "a longer one joins where it at most doubles the batch");
    }

    #[test]
    fn calls_of_other_depth_do_not_share() {
        let mut calls = waiting(&[10, 10, 10, 10]);
        [12, 3, 12].into_iter().zip(&mut calls).for_each(|(deepest, call)| call.deepest = Some(deepest));
        assert_eq!(Schedule::new(BUDGET).next(&calls).calls, [0, 2, 3], "whose depth is not known may share");
    }

    #[test]
    fn a_long_call_gives_way_and_a_batch_does_not() {
        let schedule = Schedule::new(BUDGET);
        assert!(schedule.gives_way(50_000, 10));
        assert!(!schedule.gives_way(BUDGET, 10), "what is within the budget is over soon");
        assert!(!schedule.gives_way(2048, 2048), "two of a kind do not interrupt each other");
    }

    #[test]
    fn who_is_overtaken_gets_every_second_turn() {
        let mut schedule = Schedule::new(BUDGET);
        let mut calls = waiting(&[5000]);
        let mut turns = Vec::new();
        for _ in 0..12 {
            calls.extend(waiting(&[100; 10])); // there are always more short ones than a batch takes
            let batch = schedule.next(&calls);
            schedule.begin(&batch, &mut calls);
            turns.push(batch.turn);
            if batch.turn {
                assert_eq!((batch.calls[0], batch.limit), (0, BUDGET));
                calls[0].tokens -= BUDGET;
            }
            let done: Vec<_> = batch.calls.iter().copied().filter(|&call| call > 0).collect();
            let mut call = 0;
            calls.retain(|_| (!done.contains(&call), call += 1).0);
        }
        assert!(turns.iter().filter(|&&turn| turn).count() >= 3, "{turns:?}");
        assert!(
            turns.windows(2).all(|two| two != [true, true]),
            "short ones are never kept waiting by two turns: {turns:?}"
        );
    }

    proptest! {
        /// However calls come, each is done before more than a few times what was there when it came has been computed.
        #[test]
        fn nobody_starves(
            first in prop::collection::vec(1usize..3000, 1..20),
            later in prop::collection::vec(prop::collection::vec(1usize..600, 0..12), 1..60),
        ) {
            let mut schedule = Schedule::new(BUDGET);
            let mut calls = waiting(&first);
            let mut names: Vec<usize> = (0..calls.len()).collect(); // those of `first`, and others beyond
            let ahead: usize = first.iter().sum();
            let mut computed = 0;
            for batch in 0.. {
                let mut more = later.get(batch % later.len()).cloned().unwrap_or_default();
                more.push(1); // there is always a shorter one
                names.extend(more.iter().map(|_| usize::MAX));
                calls.extend(waiting(&more));
                let batch = schedule.next(&calls);
                prop_assert!(!batch.calls.is_empty());
                let mut distinct = batch.calls.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), batch.calls.len());
                schedule.begin(&batch, &mut calls);
                let mut tokens = 0;
                for (place, &call) in batch.calls.iter().enumerate() {
                    let taken = calls[call].tokens.min(if place == 0 { batch.limit } else { usize::MAX });
                    tokens += taken;
                    calls[call].tokens -= taken;
                }
                prop_assert!(tokens <= BUDGET || batch.calls.len() == 1);
                computed += tokens;
                let left: Vec<bool> = calls.iter().map(|call| call.tokens > 0).collect();
                let mut keep = left.iter();
                calls.retain(|_| *keep.next().expect("as many"));
                let mut keep = left.iter();
                names.retain(|_| *keep.next().expect("as many"));
                if names.iter().all(|&name| name == usize::MAX) {
                    break;
                }
                prop_assert!(computed < (PATIENCE + 3) * (ahead + first.len() * BUDGET) * 2, "{names:?} still wait");
            }
        }
    }
}
