// A backend in JavaScript that is exact on what it supports. Numbers are doubles: a quotient, product
// or sum of two float32 values, rounded by Math.fround, is the one of float32.
import { Refused, Unsupported, serve } from "./wire.mjs";

const fround = Math.fround;

function rint(x) {
  const low = Math.floor(x);
  if (!Number.isFinite(x) || x - low < 0.5) return Number.isFinite(x) ? low : x;
  return x - low > 0.5 || low % 2 !== 0 ? low + 1 : low;
}

const clamp = (x, least, greatest) => Math.min(Math.max(x, least), greatest);

function integer(name) {
  const found = /^(u?)int([248])$/.exec(name);
  if (!found) throw new Unsupported(`no format ${name}`);
  const bits = Number(found[2]);
  return found[1] ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
}

const codeDtype = (least) => (least ? "int8" : "uint8");
const clipped = (q, at, least) => (least < 0 && q.attributes[`${at}/qscheme`] === "symmetric_with_clipping" ? 1 : 0);

const FLOATS = {
  float8_e4m3fn: { exponent: 4, mantissa: 3, bias: 7, last: 0x7e },
  float8_e5m2: { exponent: 5, mantissa: 2, bias: 15, last: 0x7b },
  float4_e2m1fn: { exponent: 2, mantissa: 1, bias: 1, last: 7 },
};

function floating(q) {
  const fmt = FLOATS[q.attributes["arguments/format"]];
  if (!fmt) throw new Unsupported(`no format ${q.attributes["arguments/format"]}`);
  return fmt;
}

function decoded(code, { exponent, mantissa, bias, last }) {
  const size = code & (2 ** (exponent + mantissa) - 1);
  const sign = code > size ? -1 : 1;
  if (size > last) return size === 0x7c ? sign * Infinity : NaN;
  const m = size % 2 ** mantissa;
  const e = size >> mantissa;
  return sign * (m + (e ? 2 ** mantissa : 0)) * 2 ** (Math.max(e, 1) - bias - mantissa);
}

function encoded(x, fmt, negative) {
  const { exponent, mantissa, last } = fmt;
  const sign = negative ? 2 ** (exponent + mantissa) : 0;
  if (Number.isNaN(x)) return last === 7 ? 0 : sign | (last === 0x7e ? 0x7f : 0x7e);
  let best = 0;
  for (let code = 1; code <= last; code++) {
    const middle = (decoded(best, fmt) + decoded(code, fmt)) / 2; // exact in double
    if (Math.abs(x) > middle || (Math.abs(x) === middle && code % 2 === 0)) best = code;
  }
  return sign | best;
}

function encode(q) {
  const [x, fmt] = [find(q, "x", "float32"), floating(q)];
  if (x.values.some(Number.isNaN)) throw new Unsupported("JavaScript does not keep the sign of a NaN");
  const values = x.values.map((v) => encoded(v, fmt, v < 0 || Object.is(v, -0)));
  return { codes: { dtype: "uint8", shape: x.shape, values } };
}

function decode(q) {
  const [codes, fmt] = [find(q, "codes"), floating(q)];
  if (codes.dtype !== "uint8" || codes.values.some((c) => c >> (fmt.exponent + fmt.mantissa + 1)))
    throw new Refused("codes of another dtype, or outside the format");
  const values = codes.values.map((c) => decoded(c, fmt));
  return { values: { dtype: "float32", shape: codes.shape, values } };
}

function find(q, name, dtype) {
  const t = q.tensors[name];
  if (!t) throw new Unsupported(`needs a tensor ${name}`);
  if (dtype && t.dtype !== dtype) throw new Unsupported(`${name} of another dtype`);
  return t;
}

function specOf(q, at, prefix = "") {
  if (q.attributes[`${at}/qformulation`] !== "zp") throw new Unsupported("a zero point only");
  const [least, greatest] = integer(q.attributes[`${at}/dtype`]);
  const lowest = least + clipped(q, at, least);
  const [scale, zero] = [find(q, `${prefix}scale`), find(q, `${prefix}zero_point`)];
  if (scale.dtype !== "float32" || zero.dtype !== "int32" || `${scale.shape}` !== `${zero.shape}`)
    throw new Refused("qparams of another dtype or of two shapes");
  if (scale.values.some((s) => !(s >= 2 ** -126 && s < Infinity))) throw new Unsupported("positive normal scales only");
  if (zero.values.some((z) => z < lowest || z > greatest)) throw new Refused("a zero point outside the format");
  return { least, lowest, greatest, dtype: codeDtype(least), scale: scale.values, zero: zero.values, shape: scale.shape };
}

// For each element the place of its block's entry.
function entries(shape, blocks) {
  if (shape.length !== blocks.length) throw new Refused("qparams of another rank");
  if (shape.some((n, a) => (blocks[a] ? n % blocks[a] : n))) throw new Refused("qparams that do not tile the tensor");
  return shape.reduce(
    (places, n, a) => places.flatMap((p) => Array.from({ length: n }, (_, i) => p * blocks[a] + Math.floor(i / (n / blocks[a])))),
    [0],
  );
}

function quantized(s, x, p) {
  if (Number.isNaN(x)) return s.zero[p];
  return clamp(fround(rint(fround(x / s.scale[p])) + s.zero[p]), s.lowest, s.greatest);
}

function valuesOf(codes, s) {
  if (codes.dtype !== s.dtype || codes.values.some((c) => c < s.least || c > s.greatest))
    throw new Refused("codes of another dtype, or outside the format");
  const at = entries(codes.shape, s.shape);
  return codes.values.map((c, i) => fround((c - s.zero[at[i]]) * s.scale[at[i]]));
}

function quantize(q) {
  const [x, s] = [find(q, "x", "float32"), specOf(q, "spec")];
  const at = entries(x.shape, s.shape);
  return { codes: { dtype: s.dtype, shape: x.shape, values: x.values.map((v, i) => quantized(s, v, at[i])) } };
}

function fake_quantize(q) {
  const [x, s] = [find(q, "x", "float32"), specOf(q, "spec")];
  const at = entries(x.shape, s.shape);
  const fake = (v, p) => (Number.isNaN(v) ? v : fround((quantized(s, v, p) - s.zero[p]) * s.scale[p]) + 0);
  return { values: { dtype: "float32", shape: x.shape, values: x.values.map((v, i) => fake(v, at[i])) } };
}

function dequantize(q) {
  const codes = find(q, "codes");
  return { values: { dtype: "float32", shape: codes.shape, values: valuesOf(codes, specOf(q, "spec")) } };
}

function qparams(q) {
  const [x, a] = [find(q, "x", "float32"), q.attributes];
  const [bottom, greatest] = integer(a["spec/dtype"]);
  const least = bottom + clipped(q, "spec", bottom);
  const bounds = [a["spec/float_range/0"], a["spec/float_range/1"], a["spec/scale_dtype"]];
  if (a["spec/granularity/type"] !== "per_tensor" || bounds.some((b) => b !== null)) throw new Unsupported("one scale of the values alone");
  if (!x.values.length || (a["spec/qparam_calculator_cls"] === "dynamic" && a.target === "weight"))
    throw new Refused("no elements, or a dynamic weight");
  if (!x.values.every(Number.isFinite)) throw new Unsupported("finite values only");
  const [low, high] = [x.values.reduce((m, v) => Math.min(m, v), 0) + 0, x.values.reduce((m, v) => Math.max(m, v), 0)];
  const [asymmetric, size] = [a["spec/qscheme"] === "asymmetric", Math.max(-low, high)];
  let scale = asymmetric ? fround(fround(high - low) / (greatest - least)) : fround(size / ((greatest - least) / 2));
  scale = Math.max(scale, 2 ** -23);
  if (!Number.isFinite(scale)) throw new Unsupported("finite ranges only");
  let zero = bottom ? 0 : (greatest + 1) / 2;
  if (asymmetric) zero = clamp(least - rint(fround(low / scale)), least, greatest);
  const one = (dtype, value) => ({ dtype, shape: x.shape.map(() => 1), values: [value] });
  const minval = asymmetric ? low : -size + 0;
  return { scale: one("float32", scale), zero_point: one("int32", zero), minval: one("float32", minval) };
}

function packing(q) {
  const [name, order] = [q.attributes["arguments/format"], q.attributes["arguments/order"]];
  if (order !== "low_first" && order !== "high_first") throw new Refused("an order that there is not");
  const [least, greatest] = name === "float4_e2m1fn" ? [0, 15] : integer(name);
  const bits = Math.log2(greatest - least + 1);
  const places = Array.from({ length: 8 / bits }, (_, i) => i * bits);
  return { least, greatest, bits, places: order === "low_first" ? places : places.reverse() };
}

function pack(q) {
  const { least, greatest, bits, places } = packing(q);
  const codes = find(q, "codes", codeDtype(least)).values;
  if (codes.some((c) => c < least || c > greatest)) throw new Refused("a code outside the format");
  const packed = Array(Math.ceil(codes.length / places.length)).fill(0);
  codes.forEach((c, i) => { packed[Math.floor(i / places.length)] |= (c & (2 ** bits - 1)) << places[i % places.length]; });
  return { packed: { dtype: "uint8", shape: [packed.length], values: packed } };
}

function unpack(q) {
  const { least, bits, places } = packing(q);
  const [packed, count] = [find(q, "packed", "uint8"), q.attributes["arguments/count"]];
  if (packed.shape.length !== 1 || !(count >= 0 && count <= packed.values.length * places.length))
    throw new Refused("bytes and count do not go together");
  const codes = packed.values.flatMap((b) => places.map((p) => (b >> p) & (2 ** bits - 1))).slice(0, count);
  const values = codes.map((c) => (least && c >> (bits - 1) ? c - 2 ** bits : c));
  return { codes: { dtype: codeDtype(least), shape: [count], values } };
}

const rows = (values, depth) => Array.from({ length: values.length / depth }, (_, i) => values.slice(i * depth, (i + 1) * depth));

function layer(q) {
  const [a, at] = [q.attributes, "arguments/steps"];
  const ops = Array.from({ length: a[at] }, (_, i) => a[`${at}/${i}/op`]).join();
  if (!["linear", "linear,logsigmoid"].includes(ops) || a["arguments/arithmetic/values"] !== "float32")
    throw new Unsupported("linear in float32, and logsigmoid behind it");
  const [left, right, bias] = [0, 1, 2].map((i) => a[`${at}/0/inputs/${i}`]);
  const [x, w, out] = [find(q, left), find(q, right), specOf(q, "spec", "output:")];
  if (out.scale.length !== 1) throw new Unsupported("one output scale only");
  const values = (t, n) => rows(valuesOf(t, specOf(q, `arguments/operands/${n}`, `${n}:`)), w.shape[1]);
  const add = bias ? find(q, bias, "float32").values : Array(w.shape[0]).fill(0);
  const weights = values(w, right);
  const curve = (s) => (ops === "linear" ? s : Math.min(s, 0) - Math.log1p(Math.exp(-Math.abs(s))));
  const sums = values(x, left).flatMap((row) => weights.map((each, n) => curve(each.reduce((s, v, k) => s + v * row[k], add[n]))));
  const shape = [...x.shape.slice(0, -1), w.shape[0]];
  return { codes: { dtype: out.dtype, shape, values: sums.map((s) => quantized(out, fround(s), 0)) } };
}

function integer_layer(q) {
  const a = q.attributes;
  if (a["arguments/op"] !== "linear") throw new Unsupported("linear only");
  const [bottom, top] = integer(a["arguments/output/dtype"]);
  const zero = a["arguments/output/zero_point"];
  const [least, greatest] = [a["arguments/output/quant_min"] ?? bottom, a["arguments/output/quant_max"] ?? top];
  const [[x, xs, xz], [w, ws, wz]] = [0, 1].map((i) => ["", ":scale", ":zero_point"].map((part) => find(q, `operand_${i}${part}`)));
  if ([x, w].some((t) => t.dtype !== "int8" && t.dtype !== "uint8")) throw new Unsupported("8-bit codes only");
  const output = find(q, "output:scale", "float32").values[0];
  const values = rows(x.values, w.shape[1]).flatMap((row) => rows(w.values, w.shape[1]).map((weights, n) => {
    const z = wz.values[wz.values.length > 1 ? n : 0];
    const acc = weights.reduce((s, v, k) => s + (row[k] - xz.values[0]) * (v - z), q.tensors.bias ? q.tensors.bias.values[n] : 0);
    // The rule float64_even of INT-5.
    const scale = (xs.values[0] * ws.values[ws.values.length > 1 ? n : 0]) / output;
    return clamp(rint(acc * scale), least - zero, greatest - zero) + zero;
  }));
  return { codes: { dtype: codeDtype(bottom), shape: [...x.shape.slice(0, -1), w.shape[0]], values } };
}

const operations = { encode, decode, pack, unpack, qparams, quantize, dequantize, fake_quantize, layer, integer_layer };

serve((q) => {
  if (!operations[q.operation]) throw new Unsupported(`${q.operation} is not offered`);
  return operations[q.operation](q);
});
