//! The best of what has been seen.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::AllocError;

/// A vector and how well it matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The higher the better.
    pub score: f32,
    /// Which vector.
    pub index: u32,
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Better ones come first; of equal ones, the lower index.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.index.cmp(&other.index))
    }
}

/// The `k` best candidates among those offered, in ascending order of their indices.
#[derive(Debug)]
pub struct Best {
    /// The worst on top.
    heap: BinaryHeap<Candidate>,
    k: usize,
}

impl Best {
    /// Room for `k`, at least 1.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    pub fn new(k: usize) -> Result<Self, AllocError> {
        let mut heap = BinaryHeap::new();
        let bytes = k.saturating_mul(size_of::<Candidate>());
        heap.try_reserve_exact(k.max(1)).map_err(|_| AllocError { bytes })?;
        Ok(Self { heap, k: k.max(1) })
    }

    /// What a score must exceed to be among the best: an equal one has a higher index.
    #[inline(always)]
    pub(super) fn floor(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Takes a candidate of a higher index than those before, if it is one of the best. No score is NaN.
    #[inline]
    pub(super) fn offer(&mut self, score: f32, index: u32) {
        let score = score + 0.0; // −0 is as good as 0
        if self.heap.len() < self.k {
            self.heap.push(Candidate { score, index });
        } else if let Some(mut worst) = self.heap.peek_mut()
            && score > worst.score
        {
            *worst = Candidate { score, index };
        }
    }

    /// All of them, in no order.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.heap.iter().copied()
    }
}
