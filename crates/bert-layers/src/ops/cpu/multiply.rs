//! Matrix products in each precision, and rows on their way into it.

use bert_layers_kernels::{Activation, Bf16, Converted, Epilogue, PackedInt8, Strided};

use super::linear::{Linear, Matrix};
use super::rows::{Lent, Low, Rows, ScratchInt8, ScratchRows};
use super::{Cpu, LayerNorm};
use crate::Result;

/// Rows that are computed between two looks at the cancel flag.
pub(super) const CANCEL_ROWS: usize = 256;

impl Cpu {
    /// `out = activation(x · Wᵀ + b) + residual` in f32.
    pub(super) fn multiply(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        activation: Activation,
        residual: Option<&[f32]>,
        next: Option<&Linear>,
        out: &mut Rows<'_>,
    ) -> Result<()> {
        let (stride, out) = (out.stride(), out.f32_mut());
        let upcoming = next.and_then(Linear::upcoming);
        let epilogue = Epilogue { bias: linear.bias(), activation, residual, upcoming };
        match &linear.matrix {
            Matrix::F32(matrix) => {
                // In blocks of rows, so that a cancelled call ends soon.
                for (i, out) in out.chunks_mut(CANCEL_ROWS * stride).enumerate() {
                    self.cancel.check()?;
                    let rows = i * CANCEL_ROWS..i * CANCEL_ROWS + out.len() / stride;
                    let residual = residual.map(|r| &r[rows.start * stride..rows.end * stride]);
                    let x = Strided {
                        numbers: &x.f32()[rows.start * x.stride()..rows.end * x.stride()],
                        stride: x.stride(),
                    };
                    let out = Strided { numbers: out, stride };
                    self.kernels.linear_strided(&*self.team, x, matrix, Epilogue { residual, ..epilogue }, out);
                }
            }
            Matrix::Bf16(matrix) => {
                self.kernels.linear_bf16(&*self.team, &self.as_bf16(x)?, matrix, epilogue, out);
            }
            Matrix::Int8(matrix) => {
                let x = self.as_int8(x, matrix)?;
                self.kernels.linear_int8(&*self.team, x.rows(0..x.len()), matrix, epilogue, out);
            }
            Matrix::Unsettled(unsettled) => {
                unsettled.look_at(x.f32());
                self.kernels.linear(&*self.team, x.f32(), unsettled.matrix(), epilogue, out);
            }
        }
        Ok(())
    }

    /// Rows in bf16: as whoever produced them converted them, or converted now.
    pub(super) fn as_bf16<'a>(&self, x: &'a Rows<'_>) -> Result<Lent<'a, ScratchRows<Bf16>>> {
        if let Low::Bf16(low) = x.low() {
            return Ok(Lent::Borrowed(low));
        }
        let mut out = self.scratch.bf16(x.f32().len())?;
        self.kernels.convert(&*self.team, x.f32(), x.width(), Converted::Bf16(&mut out));
        Ok(Lent::Own(out))
    }

    /// Rows quantized for a matrix, likewise.
    pub(super) fn as_int8<'a>(&self, x: &'a Rows<'_>, matrix: &PackedInt8) -> Result<Lent<'a, ScratchInt8>> {
        if let Low::Int8(low) = x.low() {
            return Ok(Lent::Borrowed(low));
        }
        let mut out = self.scratch.int8(matrix, x.count())?;
        self.kernels.convert(&*self.team, x.f32(), x.width(), Converted::Int8(matrix, &mut out));
        Ok(Lent::Own(out))
    }

    /// Norms rows in place, and converts them for who reads them next.
    pub(super) fn norm_in_place<'r>(
        &self,
        norm: &LayerNorm,
        mut rows: Rows<'r>,
        next: Option<&Linear>,
    ) -> Result<Rows<'r>> {
        let LayerNorm { weight, bias, eps } = norm;
        let bias = bias.as_deref();
        let low = match next.map(|next| &next.matrix) {
            Some(Matrix::Bf16(_)) => {
                let mut low = self.scratch.bf16(rows.f32().len())?;
                let to = Converted::Bf16(&mut low);
                self.kernels.layer_norm_converting(&*self.team, rows.f32_mut(), weight, bias, *eps, to);
                Low::Bf16(low)
            }
            Some(Matrix::Int8(matrix)) => {
                let mut low = self.scratch.int8(matrix, rows.count())?;
                let to = Converted::Int8(matrix, &mut low);
                self.kernels.layer_norm_converting(&*self.team, rows.f32_mut(), weight, bias, *eps, to);
                Low::Int8(low)
            }
            _ => {
                self.kernels.layer_norm_in_place(&*self.team, rows.f32_mut(), weight, bias, *eps);
                Low::None
            }
        };
        rows.set_low(low);
        Ok(rows)
    }
}
