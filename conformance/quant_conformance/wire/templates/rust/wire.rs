// Reads questions and writes answers in the raw format of quant-conformance, version 1. No crate.
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

#[allow(dead_code)]
pub enum No {
    Refused(String),     // the arguments are illegal
    Unsupported(String), // the program does not have this
}

#[allow(dead_code)]
pub fn unsupported<T>(reason: &str) -> Result<T, No> {
    Err(No::Unsupported(reason.to_string()))
}

#[allow(dead_code)]
pub fn refused<T>(reason: &str) -> Result<T, No> {
    Err(No::Refused(reason.to_string()))
}

#[derive(Clone, Debug, PartialEq)]
#[allow(dead_code)]
pub enum Value {
    Null,
    Int(i64), // also a bool, and the length of a list or an object
    Float(f64),
    Text(String),
}

pub const FLOAT32: u8 = 1;
pub const INT8: u8 = 4;
pub const UINT8: u8 = 5;
pub const INT32: u8 = 7;

#[derive(Clone)]
pub struct Tensor {
    pub dtype: u8,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

#[allow(dead_code)]
impl Tensor {
    pub fn floats(shape: &[usize], values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: FLOAT32, shape: shape.to_vec(), data }
    }
    // int8, uint8 or int32
    pub fn integers(dtype: u8, shape: &[usize], values: &[i64]) -> Tensor {
        let width = if dtype == INT32 { 4 } else { 1 };
        let data = values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
        Tensor { dtype, shape: shape.to_vec(), data }
    }
    pub fn f32s(&self) -> Vec<f32> {
        self.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
    pub fn ints(&self) -> Vec<i64> {
        match self.dtype {
            INT8 => self.data.iter().map(|&b| b as i8 as i64).collect(),
            UINT8 => self.data.iter().map(|&b| b as i64).collect(),
            _ => self.data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as i64).collect(),
        }
    }
}

pub struct Question {
    pub id: u32,
    pub operation: String,
    pub attributes: HashMap<String, Value>, // by path: "spec/dtype"
    pub tensors: HashMap<String, Tensor>,
}

#[allow(dead_code)]
impl Question {
    pub fn text(&self, key: &str) -> &str {
        match self.attributes.get(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.attributes.get(key) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }
    pub fn given(&self, key: &str) -> bool {
        !matches!(self.attributes.get(key), None | Some(Value::Null))
    }
    pub fn tensor(&self, name: &str) -> Result<&Tensor, No> {
        self.tensors.get(name).ok_or_else(|| No::Unsupported(format!("needs a tensor {}", name)))
    }
}

pub type Answer = Result<Vec<(&'static str, Tensor)>, No>;

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, size: usize) -> &'a [u8] {
        let (piece, _) = self.0.split_at(size);
        self.0 = &self.0[padded(size).min(self.0.len())..];
        piece
    }
    fn text(&mut self, size: usize) -> String {
        String::from_utf8_lossy(self.take(size)).into_owned()
    }
}

fn padded(size: usize) -> usize {
    (size + 7) / 8 * 8
}

fn u16_at(data: &[u8], at: usize) -> usize {
    u16::from_le_bytes([data[at], data[at + 1]]) as usize
}

fn u32_at(data: &[u8], at: usize) -> usize {
    u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize
}

fn question(data: &[u8]) -> Question {
    let mut rest = Bytes(&data[20..]);
    let operation = rest.text(u16_at(data, 10));
    let (mut attributes, mut tensors) = (HashMap::new(), HashMap::new());
    for _ in 0..u16_at(data, 6) {
        let head = rest.take(8);
        let key = rest.text(u16_at(head, 2));
        let value = rest.take(u32_at(head, 4));
        let read = match head[0] {
            0 => Value::Null,
            4 | 7 => Value::Text(String::from_utf8_lossy(value).into_owned()),
            3 => Value::Float(f64::from_le_bytes(value.try_into().unwrap())),
            _ => Value::Int(i64::from_le_bytes(value.try_into().unwrap())),
        };
        attributes.insert(key, read);
    }
    for _ in 0..u16_at(data, 8) {
        let head = rest.take(8);
        let axes = rest.take(4 * head[1] as usize);
        let shape = (0..head[1] as usize).map(|a| u32_at(axes, 4 * a)).collect();
        let name = rest.text(u16_at(head, 2));
        let data = rest.take(u32_at(head, 4)).to_vec();
        tensors.insert(name, Tensor { dtype: head[0], shape, data });
    }
    Question { id: u32_at(data, 0) as u32, operation, attributes, tensors }
}

fn push(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(data);
    out.resize(padded(out.len()), 0);
}

fn record(id: u32, answer: Answer) -> Vec<u8> {
    let (status, reason, tensors) = match answer {
        Ok(tensors) => (1u16, String::new(), tensors),
        Err(No::Refused(reason)) => (2, reason, vec![]),
        Err(No::Unsupported(reason)) => (3, reason, vec![]),
    };
    let mut out = vec![0u8; 4];
    out.extend_from_slice(&id.to_le_bytes());
    for field in [status, 0, tensors.len() as u16, reason.len() as u16] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&[0; 8]);
    push(&mut out, reason.as_bytes());
    for (name, tensor) in tensors {
        let mut head = vec![tensor.dtype, tensor.shape.len() as u8];
        head.extend_from_slice(&(name.len() as u16).to_le_bytes());
        head.extend_from_slice(&(tensor.data.len() as u32).to_le_bytes());
        push(&mut out, &head);
        let axes: Vec<u8> = tensor.shape.iter().flat_map(|&n| (n as u32).to_le_bytes()).collect();
        push(&mut out, &axes);
        push(&mut out, name.as_bytes());
        push(&mut out, &tensor.data);
    }
    let size = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&size.to_le_bytes());
    out
}

// Answers the questions of the files that are named, or of standard input.
pub fn serve(answer: fn(&Question) -> Answer) -> io::Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut source: Box<dyn Read> = Box::new(io::stdin());
    let mut sink: Box<dyn Write> = Box::new(io::stdout());
    if names.len() == 2 {
        source = Box::new(io::BufReader::new(File::open(&names[0])?));
        sink = Box::new(File::create(&names[1])?);
    }
    let mut header = *b"QCW1\x02\0\0\0\0\0\0\0\0\0\0\0";
    sink.write_all(&header)?;
    sink.flush()?;
    source.read_exact(&mut header)?;
    let mut size = [0u8; 4];
    while source.read_exact(&mut size).is_ok() {
        let mut data = vec![0u8; u32::from_le_bytes(size) as usize];
        source.read_exact(&mut data)?;
        let asked = question(&data);
        sink.write_all(&record(asked.id, answer(&asked)))?;
        sink.flush()?; // each answer at once: a crash then costs one case
    }
    Ok(())
}
