//! What the last layer is, where a norm follows the last block.

use std::str::FromStr;

use crate::config::ModelConfig;
use crate::{Error, Result};

/// The last entry of `hidden_states` of a family whose blocks norm what they read and not what they give (ModernBERT).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LastLayer {
    /// After the final norm, as `last_hidden_state`: what Transformers gives since 5.1.
    #[default]
    AfterNorm,
    /// As the last block gave it, like all layers before: what Transformers gave from 4.48 to 5.0.
    BeforeNorm,
}

impl LastLayer {
    /// Whether the family has both.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for [`BeforeNorm`](Self::BeforeNorm) of a family without a final norm.
    pub(crate) fn check(self, config: &ModelConfig) -> Result<()> {
        if self == LastLayer::AfterNorm || config.has_final_norm() {
            return Ok(());
        }
        Err(Error::InvalidInput(format!(
            "last layer 'before-norm' has no meaning for model_type '{}', whose last block no norm follows (modernbert's does): \
             leave the option out",
            config.model_type()
        )))
    }
}

impl FromStr for LastLayer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "after-norm" => Ok(LastLayer::AfterNorm),
            "before-norm" => Ok(LastLayer::BeforeNorm),
            other => {
                Err(Error::InvalidInput(format!("last layer '{other}' is neither 'after-norm' nor 'before-norm'")))
            }
        }
    }
}
