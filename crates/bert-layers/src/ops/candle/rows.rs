//! Activations on candle's devices.

use candle_core::{DType, Tensor};

use crate::Result;

/// Rows of one width. Hidden states, residuals and norms are f32 in every dtype; what a linear layer reads is of its weights' type.
#[derive(Clone)]
pub struct Rows {
    /// As computed: hidden states in f32, what is between two linear layers in the weights' type.
    exact: Tensor,
    /// The same in the weights' type, where that is another and a linear layer reads it.
    narrow: Option<Tensor>,
    /// What is still to be added to each row: attention does that itself on some devices.
    added: Option<Tensor>,
}

impl From<Tensor> for Rows {
    fn from(exact: Tensor) -> Self {
        Self { exact, narrow: None, added: None }
    }
}

impl Rows {
    /// Hidden states, and the form that linear layers read.
    pub fn new(exact: Tensor, narrow: Option<Tensor>) -> Self {
        Self { exact, narrow, added: None }
    }

    /// Rows to which something is still to be added.
    #[cfg(feature = "cuda")]
    pub fn to_be_added(exact: Tensor, added: Option<Tensor>) -> Self {
        Self { exact, narrow: None, added }
    }

    /// As they were computed, and what is to be added.
    #[cfg(feature = "cuda")]
    pub fn parts(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.exact, self.added.as_ref())
    }

    /// As computed, with everything added.
    pub fn settled(&self) -> Result<Tensor> {
        Ok(match &self.added {
            Some(added) => self.exact.broadcast_add(added)?,
            None => self.exact.clone(),
        })
    }

    /// In f32.
    pub fn wide(&self) -> Result<Tensor> {
        Ok(self.settled()?.to_dtype(DType::F32)?)
    }

    /// In the weights' type.
    pub fn input(&self, dtype: DType) -> Result<Tensor> {
        match &self.narrow {
            Some(narrow) if narrow.dtype() == dtype => Ok(narrow.clone()),
            _ => Ok(self.settled()?.to_dtype(dtype)?),
        }
    }

    /// The smallest form of it: what travels to the host.
    #[cfg(feature = "cuda")]
    pub fn smallest(&self) -> Result<Tensor> {
        self.narrow.as_ref().map_or_else(|| self.settled(), |narrow| Ok(narrow.clone()))
    }

    /// What `f` makes of each form.
    pub fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let narrow = self.narrow.as_ref().map(&f).transpose()?;
        Ok(Self { exact: f(&self.settled()?)?, narrow, added: None })
    }
}
