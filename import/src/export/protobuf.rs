//! The part of protobuf's encoding that an ONNX file needs.

/// A message under construction.
#[derive(Debug, Default, Clone)]
pub(super) struct Message(pub(super) Vec<u8>);

/// The encoding of a value.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// Adds an integer.
    pub(super) fn int(self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT).varint(value as u64)
    }

    /// Adds several integers.
    pub(super) fn ints(self, field: u64, values: &[i64]) -> Self {
        values.iter().fold(self, |message, &value| message.int(field, value))
    }

    /// Adds a number.
    pub(super) fn float(self, field: u64, value: f32) -> Self {
        let mut message = self.varint(field << 3 | FIXED32);
        message.0.extend(value.to_le_bytes());
        message
    }

    /// Adds the header of a value of `length` bytes. The caller must write the bytes after it.
    pub(super) fn head(self, field: u64, length: usize) -> Self {
        self.varint(field << 3 | LENGTH).varint(length as u64)
    }

    /// Adds bytes.
    pub(super) fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.head(field, bytes.len());
        message.0.extend(bytes);
        message
    }

    /// Adds text.
    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// Adds a message.
    pub(super) fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }
}
