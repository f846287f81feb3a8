//! A pickle machine that knows tensors and nothing else. A pickle is a program; here it can make texts, numbers, tuples, lists,
//! dictionaries, storages and tensors. It cannot call anything: what it asks for by name is in [`Global`], or refused by that name.
//! The number of operations is bounded, and with it all memory.

use std::collections::HashMap;

use super::objects::{Global, Pickle, Storage, Tensor, Value, abbreviate};
use crate::weights::tensor_file::MAX_DIMENSIONS;

/// A checkpoint with a thousand tensors takes about 40,000.
const MAX_OPERATIONS: usize = 500_000;

/// Why a pickle was not run to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is damaged, or of something else than tensors.
    Damaged(String),
    /// It asks for something by name that is no tensor.
    Refused(String),
}

impl<T: Into<String>> From<T> for Failure {
    fn from(reason: T) -> Self {
        Self::Damaged(reason.into())
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Runs the pickle at the start of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>> {
    let pickle = Pickle::of(bytes);
    Machine { pickle, position: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }.run()
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    position: usize,
    stack: Vec<Value>,
    /// Where in the stack a list of arguments begins.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

/// Adds to a list of objects; its number is the value.
fn keep<T>(list: &mut Vec<T>, object: T) -> u32 {
    list.push(object);
    list.len() as u32 - 1 // bounded by the number of operations
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>> {
        for _ in 0..MAX_OPERATIONS {
            let [code] = self.take()?;
            if code == b'.' {
                self.pickle.result = self.pop()?;
                self.pickle.length = self.position;
                return Ok(self.pickle);
            }
            self.step(code)?;
        }
        Err(format!("its pickle has more than {MAX_OPERATIONS} operations: it is no encoder's checkpoint").into())
    }

    /// One operation; the names are those of Python's pickletools.
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            // PROTO, FRAME: which version it is shows in the operations.
            0x80 => self.take::<1>().map(drop),
            0x95 => self.take::<8>().map(drop),
            // MARK, POP, POP_MARK
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            // BININT1, BININT2, BININT, LONG1
            b'K' => self.take::<1>().and_then(|[n]| self.push(Value::Int(n.into()))),
            b'M' => self.take().and_then(|n| self.push(Value::Int(u16::from_le_bytes(n).into()))),
            b'J' => self.take().and_then(|n| self.push(Value::Int(i32::from_le_bytes(n).into()))),
            0x8a => self.long(),
            // BINFLOAT
            b'G' => self.take::<8>().and_then(|_| self.push(Value::Float)),
            // SHORT_BINUNICODE, BINUNICODE, SHORT_BINSTRING, BINSTRING: Python 2 wrote names as the latter two.
            0x8c | b'U' => self.take::<1>().and_then(|[length]| self.text(length.into())),
            b'X' | b'T' => self.take().and_then(|length| self.text(u32::from_le_bytes(length) as usize)),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple(0),
            0x85..=0x87 => self.tuple(usize::from(code - 0x84)),
            b't' => self.pop_to_mark().and_then(|items| self.push_tuple(items)),
            // EMPTY_LIST, APPEND, APPENDS
            b']' => {
                let list = Value::List(keep(&mut self.pickle.lists, Vec::new()));
                self.push(list)
            }
            b'a' => self.pop().and_then(|item| self.append(&[item])),
            b'e' => self.pop_to_mark().and_then(|items| self.append(&items)),
            // EMPTY_DICT, SETITEM, SETITEMS
            b'}' => self.push_dict(),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])
            }
            b'u' => self.pop_to_mark().and_then(|items| self.set(&items)),
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => self.take::<1>().and_then(|[id]| self.put(id.into())),
            b'r' => self.take().and_then(|id| self.put(u32::from_le_bytes(id))),
            0x94 => self.put(self.memo.len() as u32),
            b'h' => self.take::<1>().and_then(|[id]| self.get(id.into())),
            b'j' => self.take().and_then(|id| self.get(u32::from_le_bytes(id))),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.pickle.text(module), self.pickle.text(name)) {
                    (Some(module), Some(name)) => self.global(module, name),
                    _ => Err("its pickle asks for something without a name".into()),
                }
            }
            // REDUCE, BUILD, BINPERSID
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'Q' => self.persistent(),
            other => {
                Err(format!("its pickle has the operation 0x{other:02x}, which no checkpoint of tensors needs").into())
            }
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.pickle.bytes.get(self.position..).and_then(|rest| rest.first_chunk());
        self.position += N;
        bytes.copied().ok_or_else(cut_short)
    }

    /// Up to the end of a line.
    fn line(&mut self) -> Result<&'a str> {
        let rest = self.pickle.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(cut_short)?;
        self.position += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "its pickle holds a name that is not UTF-8".into())
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let end =
            self.position.checked_add(length).filter(|&end| end <= self.pickle.bytes.len()).ok_or_else(cut_short)?;
        let start = std::mem::replace(&mut self.position, end);
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => self.push(Value::Text(start, end)),
            _ => Err("its pickle is too long".into()),
        }
    }

    /// A number of up to 64 bits. The legacy format's magic number has 80, and is compared as bytes before its pickle is run.
    fn long(&mut self) -> Result<()> {
        let [length] = self.take()?;
        let bytes = self.pickle.bytes.get(self.position..).and_then(|rest| rest.get(..usize::from(length)));
        let bytes = bytes.ok_or_else(cut_short)?;
        self.position += bytes.len();
        if bytes.len() > 8 {
            return Err(format!("its pickle has a number of {length} bytes").into());
        }
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut number = [if negative { 0xff } else { 0 }; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(number)))
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        // What is below a mark belongs to somebody else.
        let lowest = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= lowest {
            return Err("its pickle takes what it has not put".into());
        }
        self.stack.pop().ok_or_else(cut_short)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or("its pickle lacks a mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| "its pickle uses what it has not put".into())
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = vec![Value::None; count];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<()> {
        let tuple = Value::Tuple(keep(&mut self.pickle.tuples, items));
        self.push(tuple)
    }

    fn push_dict(&mut self) -> Result<()> {
        let dict = Value::Dict(keep(&mut self.pickle.dicts, Vec::new()));
        self.push(dict)
    }

    fn append(&mut self, items: &[Value]) -> Result<()> {
        let Value::List(id) = self.top()? else { return Err("its pickle appends to what is no list".into()) };
        self.pickle.lists[id as usize].extend_from_slice(items);
        Ok(())
    }

    fn set(&mut self, items: &[Value]) -> Result<()> {
        let Value::Dict(id) = self.top()? else { return Err("its pickle sets items of what is no dictionary".into()) };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("its pickle sets a key without a value".into());
        }
        self.pickle.dicts[id as usize].extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn put(&mut self, id: u32) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(id, value);
        Ok(())
    }

    fn get(&mut self, id: u32) -> Result<()> {
        let value =
            self.memo.get(&id).copied().ok_or_else(|| format!("its pickle recalls {id}, which it has not kept"))?;
        self.push(value)
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Failure::Refused(format!(
                "its pickle asks for {}.{}, which is no tensor: it is refused, because what a pickle asks for can run any code. If \
                 you trust the file, load it in Python and save it as safetensors",
                abbreviate(module),
                abbreviate(name)
            ))),
        }
    }

    /// The call of a global with a tuple of arguments.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Global(global) = callable else {
            return Err(format!("its pickle calls {}", self.pickle.describe(callable)).into());
        };
        let arguments = self.pickle.tuple(arguments).ok_or("its pickle calls something without arguments")?;
        match (global, arguments) {
            (Global::OrderedDict, []) => self.push_dict(),
            // (data, requires_grad, backward_hooks)
            (Global::RebuildParameter, &[data @ Value::Tensor(_), _, _]) => self.push(data),
            // (storage, offset, size, stride[, requires_grad, backward_hooks[, metadata]])
            (Global::RebuildTensor, &[Value::Storage(storage), Value::Int(offset), shape, strides, ref rest @ ..])
                if rest.len() <= 3 =>
            {
                let (Some(shape), Some(strides)) = (self.sizes(shape), self.sizes(strides)) else {
                    return Err("its pickle has a tensor without sizes".into());
                };
                let offset = u64::try_from(offset).map_err(|_| "its pickle has a tensor before its storage")?;
                let storage = self.pickle.storages[storage as usize];
                let tensor = Tensor { storage, offset, shape, strides };
                let tensor = Value::Tensor(keep(&mut self.pickle.tensors, tensor));
                self.push(tensor)
            }
            (global, _) => Err(format!("its pickle calls {global:?} with arguments that are not its own").into()),
        }
    }

    /// At most as many as any tensor has: one long tuple must not be copied into each of many tensors.
    fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        let sizes =
            self.pickle.tuple(value).filter(|sizes| sizes.len() <= MAX_DIMENSIONS)?.iter().map(|size| match size {
                Value::Int(size) => usize::try_from(*size).ok(),
                _ => None,
            });
        sizes.collect()
    }

    /// Attributes of an object. A state_dict has `_metadata`, versions of its modules; nothing here reads them.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(format!("its pickle sets attributes of {}", self.pickle.describe(other)).into()),
        }
    }

    /// ('storage', class, key, location, count[, view])
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let parts = self.pickle.tuple(id).unwrap_or_default();
        let &[kind, Value::Global(Global::Storage(dtype)), key @ Value::Text(..), _, Value::Int(count), ref view @ ..] =
            parts
        else {
            return Err("its pickle refers to something that is no storage".into());
        };
        if self.pickle.text(kind) != Some("storage") {
            return Err(format!("its pickle refers to {}, which is no storage", self.pickle.describe(kind)).into());
        }
        if !matches!(view, [] | [Value::None]) {
            return Err(
                "it has views of storages as PyTorch before 0.4 wrote them: save it again with a newer PyTorch".into(),
            );
        }
        let count = u64::try_from(count).map_err(|_| format!("its pickle has a storage of {count} values"))?;
        let storage = Value::Storage(keep(&mut self.pickle.storages, Storage { dtype, key, count }));
        self.push(storage)
    }
}

fn cut_short() -> Failure {
    Failure::Damaged("its pickle is cut short".into())
}
