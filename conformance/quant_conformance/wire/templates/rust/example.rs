// A backend in Rust without a crate that is exact on what it supports. Rust never fuses a product
// and a sum by itself; round_ties_even is written out, since older compilers lack it.
mod wire;
use wire::{refused, serve, unsupported, Answer, No, Question, Tensor, FLOAT32, INT32, INT8, UINT8};

fn rint(x: f64) -> f64 {
    if !x.is_finite() || x.abs() >= 4503599627370496.0 {
        return x;
    }
    let low = x.floor();
    let rest = x - low; // exact
    if rest > 0.5 || (rest == 0.5 && low % 2.0 != 0.0) { low + 1.0 } else { low }
}

fn integer(name: &str) -> Result<(i64, i64), No> {
    let (signed, bits) = match name {
        "int2" => (true, 2), "int4" => (true, 4), "int8" => (true, 8),
        "uint2" => (false, 2), "uint4" => (false, 4), "uint8" => (false, 8),
        _ => return unsupported("no such format"),
    };
    Ok(if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) })
}

fn dtype_of(least: i64) -> u8 {
    if least < 0 { INT8 } else { UINT8 }
}

fn clipped(q: &Question, at: &str, least: i64) -> i64 {
    (least < 0 && q.text(&format!("{}/qscheme", at)) == "symmetric_with_clipping") as i64
}

#[derive(Clone, Copy)]
struct Float { exponent: u32, mantissa: u32, bias: i32, last: u8 }

fn floating(q: &Question) -> Result<Float, No> {
    match q.text("arguments/format") {
        "float8_e4m3fn" => Ok(Float { exponent: 4, mantissa: 3, bias: 7, last: 0x7e }),
        "float8_e5m2" => Ok(Float { exponent: 5, mantissa: 2, bias: 15, last: 0x7b }),
        "float4_e2m1fn" => Ok(Float { exponent: 2, mantissa: 1, bias: 1, last: 7 }),
        _ => unsupported("no such format"),
    }
}

fn decoded(code: u8, f: Float) -> f64 {
    let size = code as u32 & ((1 << (f.exponent + f.mantissa)) - 1);
    let sign = if code as u32 > size { -1.0 } else { 1.0 };
    if size > f.last as u32 {
        return if size == 0x7c { sign * f64::INFINITY } else { f64::NAN };
    }
    let (m, e) = (size & ((1 << f.mantissa) - 1), (size >> f.mantissa) as i32);
    let whole = (m + if e > 0 { 1 << f.mantissa } else { 0 }) as f64;
    sign * whole * 2f64.powi(e.max(1) - f.bias - f.mantissa as i32)
}

fn encoded(x: f32, f: Float) -> i64 {
    let sign = if x.is_sign_negative() { 1i64 << (f.exponent + f.mantissa) } else { 0 };
    if x.is_nan() {
        return if f.last == 7 { 0 } else { sign | if f.last == 0x7e { 0x7f } else { 0x7e } };
    }
    let (size, mut best) = (x.abs() as f64, 0u8);
    for code in 1..=f.last {
        let middle = (decoded(best, f) + decoded(code, f)) / 2.0; // exact
        if size > middle || (size == middle && code % 2 == 0) { best = code; }
    }
    sign | best as i64
}

fn floats(q: &Question, name: &str) -> Result<(Vec<usize>, Vec<f32>), No> {
    let t = q.tensor(name)?;
    if t.dtype != FLOAT32 { return unsupported("float32 only"); }
    Ok((t.shape.clone(), t.f32s()))
}

fn encode(q: &Question) -> Answer {
    let ((shape, x), f) = (floats(q, "x")?, floating(q)?);
    let codes: Vec<i64> = x.iter().map(|&v| encoded(v, f)).collect();
    Ok(vec![("codes", Tensor::integers(UINT8, &shape, &codes))])
}

fn decode(q: &Question) -> Answer {
    let (codes, f) = (q.tensor("codes")?, floating(q)?);
    if codes.dtype != UINT8 || codes.data.iter().any(|&c| (c as u32) >> (f.exponent + f.mantissa + 1) > 0) {
        return refused("codes of another dtype, or outside the format");
    }
    let values: Vec<f32> = codes.data.iter().map(|&c| decoded(c, f) as f32).collect();
    Ok(vec![("values", Tensor::floats(&codes.shape, &values))])
}

struct Spec { least: i64, lowest: i64, greatest: i64, scale: Vec<f32>, zero: Vec<i64>, shape: Vec<usize> }

fn spec(q: &Question, at: &str, prefix: &str) -> Result<Spec, No> {
    if q.text(&format!("{}/qformulation", at)) != "zp" { return unsupported("a zero point only"); }
    let (least, greatest) = integer(q.text(&format!("{}/dtype", at)))?;
    let lowest = least + clipped(q, at, least);
    let (scale, zero) = (q.tensor(&format!("{}scale", prefix))?, q.tensor(&format!("{}zero_point", prefix))?);
    if scale.dtype != FLOAT32 || zero.dtype != INT32 || scale.shape != zero.shape {
        return refused("qparams of another dtype or of two shapes");
    }
    let s = Spec { least, lowest, greatest, scale: scale.f32s(), zero: zero.ints(), shape: scale.shape.clone() };
    if s.scale.iter().any(|v| !v.is_normal() || *v < 0.0) { return unsupported("positive normal scales only"); }
    if s.zero.iter().any(|&z| z < lowest || z > greatest) { return refused("a zero point outside the format"); }
    Ok(s)
}

// For each element the place of its block's entry.
fn entries(shape: &[usize], blocks: &[usize]) -> Result<Vec<usize>, No> {
    if shape.len() != blocks.len() { return refused("qparams of another rank"); }
    let mut places = vec![0];
    for (&n, &b) in shape.iter().zip(blocks) {
        if (b == 0 && n > 0) || (b > 0 && n % b > 0) { return refused("qparams that do not tile the tensor"); }
        places = places.iter().flat_map(|p| (0..n).map(move |i| p * b + i / (n / b))).collect();
    }
    Ok(places)
}

impl Spec {
    fn quantized(&self, x: f32, p: usize) -> i64 {
        if x.is_nan() { return self.zero[p]; }
        let code = rint((x / self.scale[p]) as f64) as f32 + self.zero[p] as f32;
        code.max(self.lowest as f32).min(self.greatest as f32) as i64
    }
    fn values(&self, codes: &Tensor) -> Result<Vec<f32>, No> {
        let given = codes.ints();
        if codes.dtype != dtype_of(self.least) || given.iter().any(|&c| c < self.least || c > self.greatest) {
            return refused("codes of another dtype, or outside the format");
        }
        let at = entries(&codes.shape, &self.shape)?;
        Ok(given.iter().zip(at).map(|(c, p)| (c - self.zero[p]) as f32 * self.scale[p]).collect())
    }
}

fn quantize(q: &Question) -> Answer {
    let ((shape, x), s) = (floats(q, "x")?, spec(q, "spec", "")?);
    let at = entries(&shape, &s.shape)?;
    let codes: Vec<i64> = x.iter().zip(at).map(|(&v, p)| s.quantized(v, p)).collect();
    Ok(vec![("codes", Tensor::integers(dtype_of(s.least), &shape, &codes))])
}

fn fake_quantize(q: &Question) -> Answer {
    let ((shape, x), s) = (floats(q, "x")?, spec(q, "spec", "")?);
    let fake = |v: f32, p: usize| if v.is_nan() { v } else { (s.quantized(v, p) - s.zero[p]) as f32 * s.scale[p] };
    let values: Vec<f32> = x.iter().zip(entries(&shape, &s.shape)?).map(|(&v, p)| fake(v, p)).collect();
    Ok(vec![("values", Tensor::floats(&shape, &values))])
}

fn dequantize(q: &Question) -> Answer {
    let codes = q.tensor("codes")?;
    Ok(vec![("values", Tensor::floats(&codes.shape, &spec(q, "spec", "")?.values(codes)?))])
}

fn qparams(q: &Question) -> Answer {
    let ((shape, x), (bottom, greatest)) = (floats(q, "x")?, integer(q.text("spec/dtype"))?);
    let least = bottom + clipped(q, "spec", bottom);
    let bounds = ["spec/float_range/0", "spec/float_range/1", "spec/scale_dtype"];
    if q.text("spec/granularity/type") != "per_tensor" || bounds.iter().any(|b| q.given(b)) {
        return unsupported("one scale of the values alone");
    }
    if x.is_empty() || (q.text("spec/qparam_calculator_cls") == "dynamic" && q.text("target") == "weight") {
        return refused("no elements, or a dynamic weight");
    }
    if x.iter().any(|v| !v.is_finite()) { return unsupported("finite values only"); }
    let low = x.iter().fold(0f32, |m, &v| m.min(v)) + 0.0;
    let high = x.iter().fold(0f32, |m, &v| m.max(v)) + 0.0;
    let (asymmetric, size) = (q.text("spec/qscheme") == "asymmetric", high.max(-low));
    let levels = (greatest - least) as f32;
    let scale = (if asymmetric { (high - low) / levels } else { size / (levels / 2.0) }).max(f32::EPSILON);
    if !scale.is_finite() { return unsupported("finite ranges only"); }
    let mut zero = if bottom < 0 { 0 } else { (greatest + 1) / 2 };
    if asymmetric { zero = (least - rint((low / scale) as f64) as i64).max(least).min(greatest); }
    let ones = vec![1; shape.len()];
    Ok(vec![
        ("scale", Tensor::floats(&ones, &[scale])),
        ("zero_point", Tensor::integers(INT32, &ones, &[zero])),
        ("minval", Tensor::floats(&ones, &[if asymmetric { low } else { -size + 0.0 }])),
    ])
}

fn packing(q: &Question) -> Result<(i64, i64, usize, Vec<usize>), No> {
    let (name, order) = (q.text("arguments/format"), q.text("arguments/order"));
    if order != "low_first" && order != "high_first" { return refused("an order that there is not"); }
    let (least, greatest) = if name == "float4_e2m1fn" { (0, 15) } else { integer(name)? };
    let bits = (greatest - least + 1).trailing_zeros() as usize;
    let mut places: Vec<usize> = (0..8).step_by(bits).collect();
    if order == "high_first" { places.reverse(); }
    Ok((least, greatest, bits, places))
}

fn pack(q: &Question) -> Answer {
    let (least, greatest, bits, places) = packing(q)?;
    let codes = q.tensor("codes")?;
    if codes.dtype != dtype_of(least) { return unsupported("codes of another dtype"); }
    let codes = codes.ints();
    if codes.iter().any(|&c| c < least || c > greatest) { return refused("a code outside the format"); }
    let mut packed = vec![0i64; (codes.len() + places.len() - 1) / places.len()];
    for (i, c) in codes.iter().enumerate() {
        packed[i / places.len()] |= (c & ((1 << bits) - 1)) << places[i % places.len()];
    }
    Ok(vec![("packed", Tensor::integers(UINT8, &[packed.len()], &packed))])
}

fn unpack(q: &Question) -> Answer {
    let (least, _, bits, places) = packing(q)?;
    let (packed, count) = (q.tensor("packed")?, q.int("arguments/count").unwrap_or(-1));
    if packed.dtype != UINT8 { return unsupported("uint8 only"); }
    if packed.shape.len() != 1 || count < 0 || count as usize > packed.data.len() * places.len() {
        return refused("bytes and count do not go together");
    }
    let all = packed.data.iter().flat_map(|&b| places.iter().map(move |p| (b as i64 >> p) & ((1 << bits) - 1)));
    let signed = |c: i64| if least < 0 && c >> (bits - 1) > 0 { c - (1 << bits) } else { c };
    let codes: Vec<i64> = all.take(count as usize).map(signed).collect();
    Ok(vec![("codes", Tensor::integers(dtype_of(least), &[codes.len()], &codes))])
}

fn layer(q: &Question) -> Answer {
    let op = |i: i64| q.text(&format!("arguments/steps/{}/op", i)).to_string();
    let curved = q.int("arguments/steps") == Some(2) && op(1) == "logsigmoid";
    if op(0) != "linear" || !(curved || q.int("arguments/steps") == Some(1)) || q.text("arguments/arithmetic/values") != "float32" {
        return unsupported("linear in float32, and logsigmoid behind it");
    }
    let name = |i: i64| q.text(&format!("arguments/steps/0/inputs/{}", i));
    let (x, w, out) = (q.tensor(name(0))?, q.tensor(name(1))?, spec(q, "spec", "output:")?);
    if out.scale.len() != 1 { return unsupported("one output scale only"); }
    let part = |i: i64, t| spec(q, &format!("arguments/operands/{}", name(i)), &format!("{}:", name(i)))?.values(t);
    let (xs, ws, width) = (part(0, x)?, part(1, w)?, w.shape[0]);
    let add = if name(2).is_empty() { vec![0.0; width] } else { floats(q, name(2))?.1 };
    let mut codes = vec![];
    for row in xs.chunks_exact(w.shape[1]) {
        for (n, weights) in ws.chunks_exact(w.shape[1]).enumerate() {
            let mut sum = row.iter().zip(weights).fold(add[n] as f64, |s, (&u, &v)| s + u as f64 * v as f64);
            if curved { sum = sum.min(0.0) - (-sum.abs()).exp().ln_1p(); }
            codes.push(out.quantized(sum as f32, 0));
        }
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().unwrap() = width;
    Ok(vec![("codes", Tensor::integers(dtype_of(out.least), &shape, &codes))])
}

fn integer_layer(q: &Question) -> Answer {
    if q.text("arguments/op") != "linear" { return unsupported("linear only"); }
    let (bottom, top) = integer(q.text("arguments/output/dtype"))?;
    let zero = q.int("arguments/output/zero_point").unwrap_or(0) as f64;
    let least = q.int("arguments/output/quant_min").unwrap_or(bottom) as f64;
    let greatest = q.int("arguments/output/quant_max").unwrap_or(top) as f64;
    let (x, w) = (q.tensor("operand_0")?, q.tensor("operand_1")?);
    if [x, w].iter().any(|t| t.dtype != INT8 && t.dtype != UINT8) { return unsupported("8-bit codes only"); }
    let (xs, ws) = (floats(q, "operand_0:scale")?.1, floats(q, "operand_1:scale")?.1);
    let (xz, wz) = (q.tensor("operand_0:zero_point")?.ints(), q.tensor("operand_1:zero_point")?.ints());
    let (output, width) = (floats(q, "output:scale")?.1[0] as f64, w.shape[0]);
    let bias = q.tensors.get("bias").map_or(vec![0; width], |t| t.ints());
    let mut codes = vec![];
    for row in x.ints().chunks_exact(w.shape[1]) {
        for (n, weights) in w.ints().chunks_exact(w.shape[1]).enumerate() {
            let at = |count: usize| if count > 1 { n } else { 0 };
            let acc = row.iter().zip(weights).fold(bias[n], |s, (u, v)| s + (u - xz[0]) * (v - wz[at(wz.len())]));
            let scale = xs[0] as f64 * ws[at(ws.len())] as f64 / output; // the rule float64_even of INT-5
            codes.push((rint(acc as f64 * scale).max(least - zero).min(greatest - zero) + zero) as i64);
        }
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().unwrap() = width;
    Ok(vec![("codes", Tensor::integers(dtype_of(bottom), &shape, &codes))])
}

fn answer(q: &Question) -> Answer {
    match q.operation.as_str() {
        "encode" => encode(q), "decode" => decode(q), "pack" => pack(q), "unpack" => unpack(q),
        "qparams" => qparams(q), "quantize" => quantize(q), "dequantize" => dequantize(q),
        "fake_quantize" => fake_quantize(q), "layer" => layer(q), "integer_layer" => integer_layer(q),
        _ => unsupported("not offered"),
    }
}

fn main() -> std::io::Result<()> { serve(answer) }
