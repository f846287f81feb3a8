//! What the loops in assembly prefetch.

/// Prefetches so many times a line of each of four streams: as many as the number that `{o}` plus the offset `$at` points to says.
///
/// The assembly around it has the streams' places in `{ahead}` and, one stream further, `{ahead2}`, the distance between two of them in
/// `{apart}`, nothing in `{n}`, and no labels 8 and 9.
macro_rules! prefetch {
    ($at:literal) => {
        concat!(
            "mov {n}, [{o} + ",
            $at,
            "]\n",
            "test {n}, {n}\n",
            "jz 9f\n",
            "8:\n",
            "prefetcht1 [{ahead}]\n",
            "prefetcht1 [{ahead} + {apart}]\n",
            "prefetcht1 [{ahead} + {apart}*2]\n",
            "prefetcht1 [{ahead2} + {apart}*2]\n",
            "add {ahead}, 64\n",
            "add {ahead2}, 64\n",
            "dec {n}\n",
            "jnz 8b\n",
            "9:\n",
        )
    };
}
pub(super) use prefetch;
