//! Exact search: the vectors of a matrix that are nearest to a query, by going through all of them.
//!
//! One query does little with each number of the matrix, so the matrix streams by as fast as memory gives it. Several queries
//! share a pass: a **block** of vectors, small enough for the second-level cache, meets all of them, and within it a **tile** of
//! a few vectors and a few queries has each number in a register used several times.
//!
//! A score is one fixed expression of its vector and its query: lane by lane over ascending places, then the lanes. So neither
//! the other queries of a call nor the way the matrix is cut change a bit of it, and with equal scores the lower index wins.
//!
//! - `float32`: products or squared differences in f32.
//! - `int8`: each vector in 255 levels of its own; sums of products are exact whole numbers (as floats they stay so up to about
//!   1,000 places), the same on every instruction set.
//! - `binary`: a bit for each place, whether it is above 0. In how many places two vectors differ tells the angle between them.
//! - `exact`: f64, for the few that are left.

mod best;
mod binary;
mod exact;
mod float32;
mod int8;
mod tile;
mod vectors;
mod walk;

pub use best::{Best, Candidate};
pub use exact::{exact_dot, exact_squared_distance};
pub use vectors::{SearchPrecision, SearchQueries, SearchVectors};
pub use walk::Ranking;
