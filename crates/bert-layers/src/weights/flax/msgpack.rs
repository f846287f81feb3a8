//! A reader of MessagePack that steps through a file without taking more of it into memory than names and numbers.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::{Error, Result};

/// Bytes of a text: parameters' names and types are short.
const MAX_TEXT: u32 = 512;

/// What stands at some place of the file; what is inside a map, a list or a run of bytes comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Nil,
    Bool,
    Int(i64),
    Float,
    Text(String),
    /// The length of the bytes that follow.
    Bytes(u32),
    /// The number of values that follow.
    List(u32),
    /// The number of pairs that follow.
    Map(u32),
    /// The kind of an extension, and the length of its bytes, which follow.
    Extension(i8, u32),
}

/// A place in a file of MessagePack.
pub(super) struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    position: u64,
    size: u64,
}

impl<'a> Reader<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::invalid_file(path, e))?;
        let size = file.metadata().map_err(|e| Error::invalid_file(path, e))?.len();
        Ok(Self { path, file: BufReader::new(file), position: 0, size })
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn at_end(&self) -> bool {
        self.position == self.size
    }

    pub fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid_file(self.path, reason)
    }

    fn cut_short(&self) -> Error {
        self.invalid(format!("is cut short: its {} bytes end within a value", self.size))
    }

    /// The next token; the bytes of a text are read with it.
    pub fn next(&mut self) -> Result<Token> {
        let [byte] = self.bytes()?;
        Ok(match byte {
            0x00..=0x7f => Token::Int(byte.into()),
            0x80..=0x8f => self.container(u32::from(byte & 0x0f), 2, Token::Map)?,
            0x90..=0x9f => self.container(u32::from(byte & 0x0f), 1, Token::List)?,
            0xa0..=0xbf => self.text(u32::from(byte & 0x1f))?,
            0xc0 => Token::Nil,
            0xc2 | 0xc3 => Token::Bool,
            0xc4..=0xc6 => Token::Bytes(self.length(byte - 0xc4)?),
            0xc7..=0xc9 => {
                let length = self.length(byte - 0xc7)?;
                Token::Extension(i8::from_be_bytes(self.bytes()?), length)
            }
            0xca => self.bytes::<4>().map(|_| Token::Float)?,
            0xcb => self.bytes::<8>().map(|_| Token::Float)?,
            0xcc..=0xce => Token::Int(self.length(byte - 0xcc)?.into()),
            0xcf => {
                let number = u64::from_be_bytes(self.bytes()?);
                Token::Int(i64::try_from(number).map_err(|_| self.invalid(format!("holds the number {number}")))?)
            }
            0xd0 => Token::Int(i8::from_be_bytes(self.bytes()?).into()),
            0xd1 => Token::Int(i16::from_be_bytes(self.bytes()?).into()),
            0xd2 => Token::Int(i32::from_be_bytes(self.bytes()?).into()),
            0xd3 => Token::Int(i64::from_be_bytes(self.bytes()?)),
            0xd4..=0xd8 => Token::Extension(i8::from_be_bytes(self.bytes()?), 1 << (byte - 0xd4)),
            0xd9..=0xdb => {
                let length = self.length(byte - 0xd9)?;
                self.text(length)?
            }
            0xdc | 0xdd => {
                let count = self.length(byte - 0xdc + 1)?;
                self.container(count, 1, Token::List)?
            }
            0xde | 0xdf => {
                let count = self.length(byte - 0xde + 1)?;
                self.container(count, 2, Token::Map)?
            }
            0xc1 => return Err(self.invalid("is no MessagePack: it holds the byte 0xc1")),
            0xe0..=0xff => Token::Int(i8::from_be_bytes([byte]).into()),
        })
    }

    /// Passes over the bytes of a [`Token::Bytes`] or [`Token::Extension`].
    pub fn skip(&mut self, bytes: u32) -> Result<()> {
        let end = self.position + u64::from(bytes);
        if end > self.size {
            return Err(self.cut_short());
        }
        self.file.seek_relative(bytes.into()).map_err(|e| self.invalid(e))?;
        self.position = end;
        Ok(())
    }

    /// A container's values need at least a byte each: one that declares more than are left is cut short.
    fn container(&self, count: u32, each: u64, token: fn(u32) -> Token) -> Result<Token> {
        if u64::from(count) * each > self.size - self.position {
            return Err(self.cut_short());
        }
        Ok(token(count))
    }

    fn text(&mut self, length: u32) -> Result<Token> {
        if length > MAX_TEXT {
            return Err(self.invalid(format!("holds a text of {length} bytes where a parameter's name could be")));
        }
        let mut text = vec![0; length as usize];
        self.file.read_exact(&mut text).map_err(|_| self.cut_short())?;
        self.position += u64::from(length);
        Ok(Token::Text(String::from_utf8(text).map_err(|_| self.invalid("holds a name that is not UTF-8"))?))
    }

    /// A number of 1, 2 or 4 bytes.
    fn length(&mut self, power: u8) -> Result<u32> {
        Ok(match power {
            0 => u8::from_be_bytes(self.bytes()?).into(),
            1 => u16::from_be_bytes(self.bytes()?).into(),
            _ => u32::from_be_bytes(self.bytes()?),
        })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| self.cut_short())?;
        self.position += N as u64;
        Ok(bytes)
    }
}
