//! What a pickle can make. Objects live in lists and refer to each other by number, so that a pickle that is cyclic or deep is
//! neither followed nor freed recursively.

use safetensors::Dtype;

/// Bytes of a text that is looked at: names are short.
const MAX_TEXT: usize = 1024;

/// A value; those with parts are in [`Pickle`]'s list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// Bytes of the pickle: where they begin and end.
    Text(u32, u32),
    Global(Global),
    Tuple(u32),
    List(u32),
    Dict(u32),
    Storage(u32),
    Tensor(u32),
}

/// The things that a pickle may ask for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A class such as torch.FloatStorage.
    Storage(Dtype),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => Self::Storage(match storage {
                "DoubleStorage" => Dtype::F64,
                "FloatStorage" => Dtype::F32,
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::BF16,
                "LongStorage" => Dtype::I64,
                "IntStorage" => Dtype::I32,
                "ShortStorage" => Dtype::I16,
                "CharStorage" => Dtype::I8,
                "ByteStorage" => Dtype::U8,
                "BoolStorage" => Dtype::BOOL,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// Values that tensors share: an entry of the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    pub dtype: Dtype,
    /// Its name in the archive.
    pub key: Value,
    /// The number of its values.
    pub count: u64,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub storage: Storage,
    /// Its first value in the storage.
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle that was run: its result, and the objects that this refers to.
pub(super) struct Pickle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) tuples: Vec<Vec<Value>>,
    pub(super) lists: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<Tensor>,
    pub result: Value,
    /// The length of the pickle.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    /// No objects yet.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            result: Value::None,
            length: 0,
        }
    }

    /// A text that can be a name. A longer one is none: it would be read again for each of its uses.
    pub fn text(&self, value: Value) -> Option<&'a str> {
        let Value::Text(start, end) = value else { return None };
        let bytes = self.bytes.get(start as usize..end as usize)?;
        if bytes.len() <= MAX_TEXT { std::str::from_utf8(bytes).ok() } else { None }
    }

    pub fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        let Value::Dict(id) = value else { return None };
        self.dicts.get(id as usize).map(Vec::as_slice)
    }

    pub fn list(&self, value: Value) -> Option<&[Value]> {
        let Value::List(id) = value else { return None };
        self.lists.get(id as usize).map(Vec::as_slice)
    }

    pub fn tensor(&self, value: Value) -> Option<&Tensor> {
        let Value::Tensor(id) = value else { return None };
        self.tensors.get(id as usize)
    }

    /// All storages that were referred to.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.storages.iter()
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        let Value::Tuple(id) = value else { return None };
        self.tuples.get(id as usize).map(Vec::as_slice)
    }

    /// A value in an error message.
    pub fn describe(&self, value: Value) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float => "a float".into(),
            Value::Text(..) => format!("the text '{}'", abbreviate(self.text(value).unwrap_or("?"))),
            Value::Global(global) => format!("{global:?}"),
            Value::Tuple(_) => "a tuple".into(),
            Value::List(_) => "a list".into(),
            Value::Dict(_) => "a dictionary".into(),
            Value::Storage(_) => "a storage".into(),
            Value::Tensor(_) => "a tensor".into(),
        }
    }
}

/// A name of a file that may hold anything, for a message.
pub(super) fn abbreviate(name: &str) -> String {
    let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() { format!("{shown}…") } else { shown }
}
