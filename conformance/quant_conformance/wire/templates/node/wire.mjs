// Reads questions and writes answers in the raw format of quant-conformance, version 1.
import { closeSync, openSync, readSync, writeSync } from "node:fs";

const READERS = {
  1: ["float32", 4, "Float"], 2: ["float16", 2, "Uint16"], 3: ["bfloat16", 2, "Uint16"],
  4: ["int8", 1, "Int8"], 5: ["uint8", 1, "Uint8"], 6: ["int16", 2, "Int16"],
  7: ["int32", 4, "Int32"], 8: ["int64", 8, "BigInt64"],
};
const CODES = { float32: 1, int8: 4, uint8: 5, int32: 7 };

export class Unsupported extends Error {} // the program does not have this
export class Refused extends Error {} // the arguments are illegal

const padded = (size) => size + ((8 - (size % 8)) % 8);

function element(view, code, at) {
  const kind = READERS[code][2] === "Float" ? "Float32" : READERS[code][2];
  return view[`get${kind}`](at, true);
}

// A question: operation, attributes by path ("spec/dtype"), tensors {dtype, shape, values} by name.
function parsed(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const q = { id: view.getUint32(0, true), attributes: {}, tensors: {} };
  const [attributes, tensors, text] = [6, 8, 10].map((at) => view.getUint16(at, true));
  let at = 20;
  const take = (size) => {
    const piece = data.subarray(at, at + size);
    at += padded(size);
    return piece;
  };
  q.operation = take(text).toString();
  for (let i = 0; i < attributes; i++) {
    const [kind, keys, size] = [view.getUint8(at), view.getUint16(at + 2, true), view.getUint32(at + 4, true)];
    at += 8;
    const key = take(keys).toString();
    const place = at;
    const value = take(size);
    if (kind === 0) q.attributes[key] = null;
    else if (kind === 4 || kind === 7) q.attributes[key] = value.toString();
    else if (kind === 3) q.attributes[key] = view.getFloat64(place, true);
    else q.attributes[key] = Number(view.getBigInt64(place, true));
  }
  for (let i = 0; i < tensors; i++) {
    const [code, rank] = [view.getUint8(at), view.getUint8(at + 1)];
    const [names, size] = [view.getUint16(at + 2, true), view.getUint32(at + 4, true)];
    at += 8;
    const shape = Array.from({ length: rank }, (_, a) => view.getUint32(at + 4 * a, true));
    at += padded(4 * rank);
    const name = take(names).toString();
    const values = [];
    const width = READERS[code]?.[1] ?? 1;
    if (READERS[code]) for (let p = at; p < at + size; p += width) values.push(element(view, code, p));
    at += padded(size);
    q.tensors[name] = { dtype: READERS[code]?.[0] ?? "other", shape, values };
  }
  return q;
}

function record(id, status, reason, tensors) {
  const parts = [Buffer.alloc(padded(Buffer.byteLength(reason)))];
  parts[0].write(reason);
  for (const [name, t] of Object.entries(tensors)) {
    const code = CODES[t.dtype];
    const [, width, kind] = READERS[code];
    const size = width * t.values.length;
    const head = Buffer.alloc(8 + padded(4 * t.shape.length) + padded(name.length) + padded(size));
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    view.setUint8(0, code);
    view.setUint8(1, t.shape.length);
    view.setUint16(2, name.length, true);
    view.setUint32(4, size, true);
    t.shape.forEach((extent, a) => view.setUint32(8 + 4 * a, extent, true));
    head.write(name, 8 + padded(4 * t.shape.length));
    const place = 8 + padded(4 * t.shape.length) + padded(name.length);
    const set = `set${kind === "Float" ? "Float32" : kind}`;
    t.values.forEach((value, i) => view[set](place + width * i, value, true));
    parts.push(head);
  }
  const body = Buffer.concat(parts);
  const start = Buffer.alloc(24);
  start.writeUInt32LE(20 + body.length, 0);
  start.writeUInt32LE(id, 4);
  start.writeUInt16LE(status, 8);
  start.writeUInt16LE(Object.keys(tensors).length, 12);
  start.writeUInt16LE(Buffer.byteLength(reason), 14);
  return Buffer.concat([start, body]);
}

function read(file, size) {
  const data = Buffer.alloc(size);
  let got = 0;
  while (got < size) {
    let count = 0;
    try {
      count = readSync(file, data, got, size - got, null);
    } catch (error) {
      if (error.code === "EAGAIN") continue;
      if (error.code !== "EOF") throw error;
    }
    if (count === 0) return null;
    got += count;
  }
  return data;
}

function write(file, data) {
  let done = 0;
  while (done < data.length) {
    try {
      done += writeSync(file, data, done);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

// Answers the questions of the files that are named, or of standard input.
export function serve(answer) {
  const [, , requests, responses] = process.argv;
  const source = responses ? openSync(requests, "r") : 0;
  const sink = responses ? openSync(responses, "w") : 1;
  const header = Buffer.alloc(16);
  header.write("QCW1");
  header.writeUInt32LE(2, 4);
  write(sink, header);
  if (read(source, 16)?.toString("latin1", 0, 4) !== "QCW1") throw new Error("these are no questions");
  for (let size = read(source, 4); size; size = read(source, 4)) {
    const q = parsed(read(source, size.readUInt32LE(0)));
    try {
      write(sink, record(q.id, 1, "", answer(q)));
    } catch (no) {
      const status = no instanceof Unsupported ? 3 : no instanceof Refused ? 2 : 0;
      if (status === 0) throw no;
      write(sink, record(q.id, status, no.message.slice(0, 200), {}));
    }
  }
  if (responses) closeSync(sink);
}
