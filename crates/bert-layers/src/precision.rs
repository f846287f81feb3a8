//! Vectors in fewer bytes.

/// How the numbers of vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As computed.
    #[default]
    Float32,
    /// IEEE 754 binary16, rounded to the nearest, ties to even.
    Float16,
    /// A whole number of -127 to 127 and a scale for each vector: x ≈ scale · q with scale = max |x| / 127, q rounded to the
    /// nearest, ties to even.
    Int8,
    /// One bit a number, 1 where it is positive; eight to a byte, the first in the highest bit, the last byte filled with 0
    /// (as numpy.packbits(vectors > 0) does).
    Binary,
}

/// The numbers of vectors, one vector after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Vectors {
    /// `[vector][dim]`.
    Float32(Vec<f32>),
    /// `[vector][dim]`, the bits of binary16.
    Float16(Vec<u16>),
    /// `[vector][dim]`, and a scale for each vector.
    Int8 {
        /// Whole numbers of -127 to 127.
        data: Vec<i8>,
        /// x ≈ scale · q.
        scales: Vec<f32>,
    },
    /// `[vector][⌈dim / 8⌉]`.
    Binary(Vec<u8>),
}

impl Vectors {
    /// Stores vectors of `dim` numbers.
    pub(crate) fn new(data: Vec<f32>, dim: usize, precision: Precision) -> Self {
        match precision {
            Precision::Float32 => Vectors::Float32(data),
            Precision::Float16 => Vectors::Float16(data.iter().map(|&x| half::f16::from_f32(x).to_bits()).collect()),
            Precision::Int8 => {
                let scale = |vector: &[f32]| vector.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
                let scales: Vec<f32> = data.chunks_exact(dim).map(scale).collect();
                let quantized = |(vector, &scale): (&[f32], &f32)| {
                    // A zero vector has scale 0. A number so small that its scale is 0 too is stored as 0.
                    let inverse = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
                    vector.iter().map(|&x| (f64::from(x) * inverse).round_ties_even() as i8).collect::<Vec<_>>()
                };
                let data = exact(data.chunks_exact(dim).zip(&scales).flat_map(quantized).collect());
                Vectors::Int8 { data, scales }
            }
            Precision::Binary => {
                let byte = |bits: &[f32]| {
                    bits.iter().enumerate().fold(0, |byte, (at, &x)| byte | (u8::from(x > 0.0) << (7 - at)))
                };
                Vectors::Binary(exact(data.chunks_exact(dim).flat_map(|vector| vector.chunks(8).map(byte)).collect()))
            }
        }
    }
}

/// Without spare room, so that it can be handed on as it is.
fn exact<T>(mut data: Vec<T>) -> Vec<T> {
    data.shrink_to_fit();
    data
}
