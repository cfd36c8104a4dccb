//! A pickle as data: the values that Python would build, without building them.
//!
//! The stack machine is CPython's (`Lib/pickle.py`, protocols 0 to 5). An unknown class is not an
//! error: an object keeps the name of the callable, its arguments, and the items that were added
//! afterwards.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

/// The index of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// A value of a pickle. It refers to other values by index, so a value may occur several times.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number with a fraction, which is not needed.
    Float,
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or a function, as `module.name`.
    Global(Arc<str>),
    /// A reference to an object outside the pickle.
    Persistent(Id),
    Object(Box<Object>),
    /// A number that is too large, or an object of an extension registry.
    Other,
}

/// An object that a call of a class or a function would have created.
#[derive(Debug)]
pub(super) struct Object {
    /// The class or the function.
    pub callable: Id,
    /// Its arguments, a sequence.
    pub arguments: Id,
    /// The argument of `__setstate__`.
    pub state: Option<Id>,
    /// Entries that were set as in a dictionary.
    pub entries: Vec<(Id, Id)>,
    /// Items that were appended as to a list.
    pub items: Vec<Id>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

/// The largest number of values of a pickle, of 32 bytes each.
const MOST: usize = 1 << 23;

/// Number of bytes that are allocated for a string before they are read.
const AHEAD: usize = 1 << 16;

impl Pickle {
    /// Reads one pickle. The reader is then after its end.
    ///
    /// # Errors
    ///
    /// When the pickle is invalid.
    pub(super) fn read(reader: &mut impl BufRead) -> Result<Self, String> {
        let mut machine = Machine::new(reader);
        let root = machine.run()?;
        Ok(Self { values: machine.values, root })
    }

    /// Returns the pickled value.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// Returns all values, in the order of their creation.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&Arc<str>> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(int) => Some(*int),
            Value::Bool(bool) => Some(i64::from(*bool)),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the name of a class or a function.
    pub(super) fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary, or of an object that is used as one, for example of a
    /// subclass of `dict`.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) if !object.entries.is_empty() => Some(&object.entries),
            _ => None,
        }
    }

    /// Returns the value of an entry with this name.
    pub(super) fn entry(&self, id: Id, name: &str) -> Option<Id> {
        let entries = self.entries(id)?;
        let found =
            entries.iter().find(|(key, _)| self.text(*key).is_some_and(|key| **key == *name));
        found.map(|(_, value)| *value)
    }

    /// Returns the name of a value's class in Python.
    pub(super) fn class(&self, id: Id) -> String {
        let name = match self.get(id) {
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float => "float",
            Value::Text(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::Sequence(_) => "list",
            Value::Dict(_) => "dict",
            Value::Global(_) => "class",
            Value::Persistent(_) => "storage",
            Value::Object(object) => self.global(object.callable).unwrap_or("object"),
            Value::Other => "object",
        };
        name.to_owned()
    }
}

/// The state of the stack machine.
struct Machine<'r, R> {
    reader: &'r mut R,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

/// Frequent values, which all occurrences share.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

impl<'r, R: BufRead> Machine<'r, R> {
    fn new(reader: &'r mut R) -> Self {
        let values = vec![Value::None, Value::Bool(false), Value::Bool(true)];
        Self { reader, values, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Runs the pickle to its end; the names of the opcodes are those of `pickletools`.
    fn run(&mut self) -> Result<Id, String> {
        loop {
            match self.byte()? {
                // PROTO, FRAME, READONLY_BUFFER
                0x80 => drop(self.byte()?),
                0x95 => drop(self.array::<8>()?),
                0x98 => {}
                // STOP
                b'.' => return self.pop(),
                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => match self.marks.last() == Some(&self.stack.len()) {
                    true => drop(self.marks.pop()),
                    false => drop(self.pop()?),
                },
                b'1' => drop(self.pop_mark()?),
                b'2' => self.stack.push(self.top()?),
                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.stack.push(NONE),
                0x88 => self.stack.push(TRUE),
                0x89 => self.stack.push(FALSE),
                // INT, LONG, BININT, BININT1, BININT2, LONG1, LONG4
                b'I' => match &*self.line()? {
                    "00" => self.stack.push(FALSE),
                    "01" => self.stack.push(TRUE),
                    line => self.push_number(line)?,
                },
                b'L' => {
                    let line = self.line()?;
                    self.push_number(line.strip_suffix('L').unwrap_or(&line))?;
                }
                b'J' => {
                    let int = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(int.into()))?;
                }
                b'K' => {
                    let int = self.byte()?;
                    self.push(Value::Int(int.into()))?;
                }
                b'M' => {
                    let int = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(int.into()))?;
                }
                0x8a => {
                    let length = self.byte()?;
                    self.push_long(length.into())?;
                }
                0x8b => {
                    let length = self.length::<4>()?;
                    self.push_long(length)?;
                }
                // FLOAT, BINFLOAT
                b'F' => {
                    self.line()?;
                    self.push(Value::Float)?;
                }
                b'G' => {
                    self.array::<8>()?;
                    self.push(Value::Float)?;
                }
                // STRING, BINSTRING, SHORT_BINSTRING: text or bytes of Python 2
                b'S' => {
                    let line = self.line()?;
                    let quoted = line.trim_matches(['\'', '"']);
                    self.push(Value::Text(quoted.into()))?;
                }
                b'T' => {
                    let length = self.length::<4>()?;
                    self.push_string(length)?;
                }
                b'U' => {
                    let length = self.byte()?;
                    self.push_string(length.into())?;
                }
                // UNICODE, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'V' => {
                    let line = self.line()?;
                    self.push(Value::Text(line.into()))?;
                }
                b'X' => {
                    let length = self.length::<4>()?;
                    self.push_text(length)?;
                }
                0x8c => {
                    let length = self.byte()?;
                    self.push_text(length.into())?;
                }
                0x8d => {
                    let length = self.length::<8>()?;
                    self.push_text(length)?;
                }
                // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
                b'B' => {
                    let length = self.length::<4>()?;
                    self.push_bytes(length)?;
                }
                b'C' => {
                    let length = self.byte()?;
                    self.push_bytes(length.into())?;
                }
                0x8e | 0x96 => {
                    let length = self.length::<8>()?;
                    self.push_bytes(length)?;
                }
                // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET, EMPTY_DICT
                b')' | b']' | 0x8f => self.push(Value::Sequence(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                // TUPLE, LIST, FROZENSET, TUPLE1, TUPLE2, TUPLE3
                b't' | b'l' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.push(Value::Sequence(items))?;
                }
                op @ 0x85..=0x87 => {
                    let mut items = Vec::with_capacity(3);
                    for _ in 0x84..op {
                        items.push(self.pop()?);
                    }
                    items.reverse();
                    self.push(Value::Sequence(items))?;
                }
                // DICT
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Dict(pairs(&items)))?;
                }
                // APPEND, APPENDS, ADDITEMS
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                // SETITEM, SETITEMS
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(&items)?;
                }
                // GET, BINGET, LONG_BINGET
                b'g' => {
                    let line = self.line()?;
                    self.recall(line.parse().map_err(|_| format!("`{line}` is no place"))?)?;
                }
                b'h' => {
                    let index = self.byte()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                // PUT, BINPUT, LONG_BINPUT, MEMOIZE
                b'p' => {
                    let line = self.line()?;
                    self.remember(line.parse().map_err(|_| format!("`{line}` is no place"))?)?;
                }
                b'q' => {
                    let index = self.byte()?;
                    self.remember(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let name = format!("{}.{}", self.line()?, self.line()?);
                    self.push(Value::Global(name.into()))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) =
                        (&self.values[module.0 as usize], &self.values[name.0 as usize])
                    else {
                        return Err("the name of a class is no text".to_owned());
                    };
                    let name = format!("{module}.{name}");
                    self.push(Value::Global(name.into()))?;
                }
                // EXT1, EXT2, EXT4
                op @ 0x82..=0x84 => {
                    drop(self.bytes(1 << (op - 0x82))?);
                    self.push(Value::Other)?;
                }
                // REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    self.push_object(callable, arguments)?;
                }
                0x92 => {
                    let (_named, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                    self.push_object(callable, arguments)?;
                }
                b'i' => {
                    let name = format!("{}.{}", self.line()?, self.line()?);
                    let items = self.pop_mark()?;
                    let (callable, arguments) =
                        (self.add(Value::Global(name.into()))?, self.add(Value::Sequence(items))?);
                    self.push_object(callable, arguments)?;
                }
                b'o' => {
                    let mut items = self.pop_mark()?;
                    if items.is_empty() {
                        return Err("an object has no class".to_owned());
                    }
                    let callable = items.remove(0);
                    let arguments = self.add(Value::Sequence(items))?;
                    self.push_object(callable, arguments)?;
                }
                // BUILD
                b'b' => {
                    let state = self.pop()?;
                    let top = self.top()?;
                    if let Value::Object(object) = &mut self.values[top.0 as usize] {
                        object.state = Some(state);
                    }
                }
                // PERSID, BINPERSID
                b'P' => {
                    let line = self.line()?;
                    let id = self.add(Value::Text(line.into()))?;
                    self.push(Value::Persistent(id))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id))?;
                }
                op => return Err(format!("its pickle has an unknown opcode, {op:#04x}")),
            }
        }
    }

    fn add(&mut self, value: Value) -> Result<Id, String> {
        if self.values.len() >= MOST {
            return Err(format!("its pickle has more than {MOST} values"));
        }
        self.values.push(value);
        Ok(Id(self.values.len() as u32 - 1))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_object(&mut self, callable: Id, arguments: Id) -> Result<(), String> {
        let (entries, items) = (Vec::new(), Vec::new());
        let object = Object { callable, arguments, state: None, entries, items };
        self.push(Value::Object(Box::new(object)))
    }

    fn push_number(&mut self, line: &str) -> Result<(), String> {
        self.push(line.parse().map_or(Value::Other, Value::Int))
    }

    /// Pushes an integer of `length` bytes, little-endian.
    fn push_long(&mut self, length: u64) -> Result<(), String> {
        let bytes = self.bytes(length)?;
        let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let value = match bytes.len() {
            0..=8 => {
                let mut number = [sign; 8];
                number[..bytes.len()].copy_from_slice(&bytes);
                Value::Int(i64::from_le_bytes(number))
            }
            _ => Value::Other,
        };
        self.push(value)
    }

    fn push_text(&mut self, length: u64) -> Result<(), String> {
        let text = match String::from_utf8(self.bytes(length)?) {
            Ok(text) => text,
            // Python writes halves of surrogate pairs, which are not characters.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        self.push(Value::Text(text.into()))
    }

    fn push_string(&mut self, length: u64) -> Result<(), String> {
        let value = match String::from_utf8(self.bytes(length)?) {
            Ok(text) => Value::Text(text.into()),
            Err(error) => Value::Bytes(error.into_bytes().into()),
        };
        self.push(value)
    }

    fn push_bytes(&mut self, length: u64) -> Result<(), String> {
        let bytes = self.bytes(length)?;
        self.push(Value::Bytes(bytes.into()))
    }

    fn top(&self) -> Result<Id, String> {
        let is_marked = self.marks.last() == Some(&self.stack.len());
        let top = self.stack.last().filter(|_| !is_marked);
        top.copied().ok_or_else(|| "its pickle takes more values than it has".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("its pickle lacks a mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::Sequence(list) => list.extend(items),
            Value::Object(object) => object.items.extend(items),
            _ => return Err("its pickle appends to what is no list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::Dict(entries) => entries.extend(pairs(items)),
            Value::Object(object) => object.entries.extend(pairs(items)),
            _ => return Err("its pickle sets entries of what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id = self.memo.get(&index).ok_or_else(|| format!("its pickle has no value {index}"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(said)?;
        Ok(bytes)
    }

    /// Reads a length of `N` bytes, little-endian.
    fn length<const N: usize>(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.array::<N>()?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads `length` bytes. A length beyond the end of the file allocates no memory.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let ahead = usize::try_from(length).unwrap_or(AHEAD).min(AHEAD);
        let mut bytes = Vec::with_capacity(ahead);
        self.reader.by_ref().take(length).read_to_end(&mut bytes).map_err(said)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(ENDS.to_owned()),
        }
    }

    /// Reads the rest of a line.
    fn line(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(AHEAD as u64).read_until(b'\n', &mut bytes).map_err(said)?;
        if bytes.pop() != Some(b'\n') {
            return Err(ENDS.to_owned());
        }
        String::from_utf8(bytes).map_err(|_| "a line of its pickle is no text".to_owned())
    }
}

const ENDS: &str = "the file ends within its pickle";

fn said(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ENDS.to_owned(),
        _ => error.to_string(),
    }
}

/// Returns pairs of keys and values, which alternate. A key without a value is left out.
fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(&mut bytes)
    }

    #[test]
    fn a_value_that_occurs_twice_is_one() {
        // a = [1]; (a, a); then 2 is appended to a, which is both.
        let pickle = read(b"\x80\x02(]q\x00K\x01ah\x00t.").unwrap();
        let items = pickle.sequence(pickle.root()).unwrap();
        assert_eq!(items[0], items[1]);
        assert_eq!(pickle.sequence(items[0]).unwrap().len(), 1);
    }

    #[test]
    fn doubling_a_list_repeatedly_takes_no_memory() {
        // l = [l, l] a hundred times: 2^100 leaves along all paths.
        let mut bytes = b"\x80\x02]q\x00".to_vec();
        for _ in 0..100 {
            bytes.extend(b"0h\x00h\x00\x86q\x00");
        }
        bytes.push(b'.');
        assert_eq!(read(&bytes).unwrap().values.len(), 104);
    }

    #[test]
    fn objects_of_unknown_classes_are_kept() {
        // EasyDict(): a subclass of dict with an entry and a state.
        let pickle = read(b"\x80\x02ceasydict\nEasyDict\n)\x81X\x02\0\0\0lrK\x01s}b.").unwrap();
        let root = pickle.root();
        assert_eq!(pickle.class(root), "easydict.EasyDict");
        assert_eq!(pickle.entry(root, "lr").and_then(|id| pickle.int(id)), Some(1));
    }

    #[test]
    fn numbers_of_all_lengths() {
        let int = |bytes: &[u8]| {
            let pickle = read(bytes).unwrap();
            pickle.int(pickle.root())
        };
        assert_eq!(int(b"\x8a\x01\xff."), Some(-1));
        assert_eq!(int(b"\x8a\x02\xff\x00."), Some(255));
        assert_eq!(int(b"\x8a\x00."), Some(0));
        assert_eq!(int(b"L-12L\n."), Some(-12));
        assert_eq!(int(b"I01\n."), Some(1));
        assert_eq!(int(b"\x8a\x09\0\0\0\0\0\0\0\0\x01."), None);
    }

    #[test]
    fn errors_are_explained() {
        for (bytes, reason) in [
            (&b"\x80\x02"[..], "ends"),
            (b"X\xff\xff\xff\xffabc", "ends"),
            (b".", "more values"),
            (b"(.", "more values"),
            (b"t.", "mark"),
            (b"h\x05.", "no value 5"),
            (b"\x97.", "opcode"),
            (b"K\x01K\x02a.", "no list"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(reason), "{bytes:?}: {error}");
        }
    }
}
