//! The folder of a model.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bert_layers::{
    ConvertOptions, DeviceChoice, EmbedOptions, EncodeOptions, Encoder, Input, LoadOptions, Result, Search, convert,
    inspect,
};

use crate::limits::{found, within};

/// Where an input's quoted words decide which model it is tried with: the first that it has, or the last of all.
pub fn named<'a>(bytes: &[u8], models: &'a [(&str, Model)]) -> &'a Model {
    let has = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    let (_, model) = models.iter().find(|(name, _)| has(name)).or(models.last()).expect("a model");
    model
}

/// A copy of a fixture in memory-backed storage, where there is one.
pub struct Model(PathBuf);

impl Model {
    /// Copies a folder of test/fixtures, less the files that will be written.
    pub fn of(fixture: &str, less: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // The tokenizers library answers some damage with a panic, which the engine catches: only one that comes out is a finding.
        std::panic::set_hook(Box::new(|_| {}));
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("bert-layers-fuzz-{}-{number}", std::process::id()));
        let model = Self(folder);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/fixtures").join(fixture), &model.0);
        for name in less {
            std::fs::remove_file(model.0.join(name)).expect(name);
        }
        model
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        let written =
            std::fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| std::fs::write(path, bytes));
        written.expect("writable");
    }

    /// Removes a file of the folder.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.0.join(name));
    }

    /// Loads the model with a file as the fuzzer made it, and does with it what can be done. Whatever the file, the answer is a
    /// model or an error, in bounded time and memory, and never a defect of ours.
    pub fn try_with(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
        within(bytes.len(), || {
            let folder = self.0.to_string_lossy();
            let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(1), ..LoadOptions::default() };
            checked(Encoder::from_pretrained(&folder, &options).and_then(|encoder| use_all(&encoder)));
            checked(inspect(&folder, &Search::default()).map(drop));
        });
    }

    /// As [`try_with`](Self::try_with), for a file of weights: they are converted too, which reads what no layer needs.
    pub fn try_weights(&self, name: &str, bytes: &[u8]) {
        self.try_with(name, bytes);
        within(bytes.len(), || {
            let options = ConvertOptions { force: true, ..ConvertOptions::default() };
            checked(convert(&self.0.to_string_lossy(), &self.0.with_extension("converted"), &options).map(drop));
        });
    }
}

/// Everything that reads what a model's files said.
fn use_all(encoder: &Encoder) -> Result<()> {
    let options = EncodeOptions { pooler: encoder.has_pooler(), attentions: true, ..EncodeOptions::default() };
    let ids = Input::Ids { ids: vec![1, 2], type_ids: None, attention_mask: None };
    encoder.encode(&[ids], &options)?;
    let Some(tokenizer) = encoder.tokenizer() else { return Ok(()) };
    let words = ["Hello", " wörld", ""].map(str::to_owned).to_vec();
    let pair = Input::Pair { text: "Hello world\u{301} 12 ｆｕｌｌ".into(), pair: "a<mask>".into() };
    for input in ["Hello 世界 a<mask>".into(), pair, Input::Words(words)] {
        checked(encoder.encode(&[input], &EncodeOptions::default()).map(drop));
    }
    checked(encoder.embed(&["Hello".into()], &EmbedOptions::default()).map(drop));
    let ids: Vec<u32> = (0..8).filter(|&id| tokenizer.id_to_token(id).is_some()).collect();
    tokenizer.decode(&ids, false).map(drop)
}

fn checked(result: Result<()>) {
    match result {
        Err(error) if error.code() == "ERR_INTERNAL" => found(&error.to_string()),
        Err(error) if error.to_string().len() > 10_000 => {
            found(&format!("a message of {} bytes", error.to_string().len()))
        }
        _ => {}
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a fixture").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().starts_with("goldens.") {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
