// A backend in C++17 that is exact on what it supports: integer formats with a zero point, FP8 and
// FP4 codes, packing, linear layers. Compile with -ffp-contract=off: a fused multiply-add rounds once
// where the specification rounds twice.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "wire.h"

namespace {
struct Unsupported { std::string reason; };
struct Refused { std::string reason; };
struct Integer { int least = 0, greatest = 0; bool is_signed = false; };

Integer integer(const std::string &name)
{
    const bool sign = name.rfind("int", 0) == 0;
    const std::string digits = name.substr(sign ? 3 : name.rfind("uint", 0) == 0 ? 4 : 0);
    if (digits != "2" && digits != "4" && digits != "8") throw Unsupported{"no format " + name};
    const int bits = std::stoi(digits);
    return sign ? Integer{-(1 << (bits - 1)), (1 << (bits - 1)) - 1, true} : Integer{0, (1 << bits) - 1, false};
}
struct Float { int exponent, mantissa, bias; bool e4m3; };
Float floating(const std::string &name)
{
    if (name == "float8_e4m3fn") return {4, 3, 7, true};
    if (name == "float8_e5m2") return {5, 2, 15, false};
    if (name == "float4_e2m1fn") return {2, 1, 1, false};
    throw Unsupported{"no format " + name};
}
float decoded(int code, const Float &f)
{
    const int m = code & ((1 << f.mantissa) - 1), e = code >> f.mantissa & ((1 << f.exponent) - 1);
    const float sign = code >> (f.mantissa + f.exponent) & 1 ? -1.0f : 1.0f;
    if (f.e4m3 && e == 15 && m == 7) return std::numeric_limits<float>::quiet_NaN();
    if (f.exponent == 5 && e == 31) return m ? std::numeric_limits<float>::quiet_NaN() : sign * INFINITY;
    const float whole = static_cast<float>(m + (e ? 1 << f.mantissa : 0));
    return sign * std::ldexp(whole, (e ? e : 1) - f.bias - f.mantissa);
}
uint8_t encoded(float x, const Float &f)
{
    const int width = f.exponent + f.mantissa, sign = std::signbit(x) ? 1 << width : 0;
    if (std::isnan(x)) return width == 3 ? 0 : static_cast<uint8_t>(sign | (f.e4m3 ? 0x7f : 0x7e));
    const int last = width == 3 ? 7 : f.e4m3 ? 0x7e : 0x7b;
    const double size = std::fabs(static_cast<double>(x));
    int best = 0;
    for (int code = 1; code <= last; code++) {
        const double lower = decoded(best, f), upper = decoded(code, f);
        const double middle = (lower + upper) / 2;  // exact in double
        if (size > middle || (size == middle && code % 2 == 0)) best = code;
    }
    return static_cast<uint8_t>(sign | best);
}
qc_tensor find(const qc_question *q, const std::string &name, int dtype = 0)
{
    qc_tensor t;
    if (!qc_find(q, name.c_str(), &t)) throw Unsupported{"needs a tensor " + name};
    if (dtype && t.dtype != dtype) throw Unsupported{name + " of another dtype"};
    return t;
}
std::string text(const qc_question *q, const std::string &key)
{
    char out[64];
    return qc_text(q, key.c_str(), out, sizeof out);
}
template <class T> const T *data(const qc_tensor &t) { return static_cast<const T *>(t.data); }
int code_of(const qc_tensor &t, size_t i) { return t.dtype == QC_INT8 ? data<int8_t>(t)[i] : data<uint8_t>(t)[i]; }
// For each element of x the place of its entry in qparams of one entry for each block.
std::vector<size_t> entries(const qc_tensor &x, const qc_tensor &p)
{
    if (p.rank != x.rank) throw Refused{"qparams of another rank"};
    for (int a = 0; a < x.rank; a++)
        if (p.shape[a] ? x.shape[a] % p.shape[a] : x.shape[a]) throw Refused{"qparams that do not tile the tensor"};
    std::vector<size_t> found(x.count);
    for (size_t i = 0; i < x.count; i++) {
        size_t rest = i, place = 0, stride = 1;
        for (int a = x.rank - 1; a >= 0; a--) {
            place += rest % x.shape[a] / (x.shape[a] / p.shape[a]) * stride;
            rest /= x.shape[a];
            stride *= p.shape[a];
        }
        found[i] = place;
    }
    return found;
}
struct Spec { Integer fmt; int least; qc_tensor scale, zero; };
Spec spec(const qc_question *q, const std::string &at, const std::string &prefix = "")
{
    if (text(q, at + "/qformulation") != "zp") throw Unsupported{"a zero point only"};
    Spec s{integer(text(q, at + "/dtype")), 0, find(q, prefix + "scale"), find(q, prefix + "zero_point")};
    if (s.scale.dtype != QC_FLOAT32 || s.zero.dtype != QC_INT32) throw Refused{"qparams of another dtype"};
    if (s.scale.rank != s.zero.rank) throw Refused{"qparams of two shapes"};
    s.least = s.fmt.least + (s.fmt.is_signed && text(q, at + "/qscheme") == "symmetric_with_clipping");
    for (size_t i = 0; i < s.scale.count; i++) {
        const float scale = data<float>(s.scale)[i];
        if (!std::isnormal(scale) || scale < 0) throw Unsupported{"positive normal scales only"};
    }
    for (int a = 0; a < s.scale.rank; a++)
        if (s.scale.shape[a] != s.zero.shape[a]) throw Refused{"qparams of two shapes"};
    for (size_t i = 0; i < s.zero.count; i++) {
        const int zero = data<int32_t>(s.zero)[i];
        if (zero < s.least || zero > s.fmt.greatest) throw Refused{"a zero point outside the format"};
    }
    return s;
}
int quantized(float x, float scale, int zero, int least, int greatest)
{
    if (std::isnan(x)) return zero;
    const float code = std::nearbyintf(x / scale) + static_cast<float>(zero);
    return static_cast<int>(std::fmin(std::fmax(code, static_cast<float>(least)), static_cast<float>(greatest)));
}
void quantize(const qc_question *q, qc_answer *a, bool fake)
{
    const qc_tensor x = find(q, "x", QC_FLOAT32);
    const Spec s = spec(q, "spec");
    const auto at = entries(x, s.scale);
    void *out = fake ? qc_give(a, "values", QC_FLOAT32, x.rank, x.shape)
                     : qc_give(a, "codes", s.fmt.is_signed ? QC_INT8 : QC_UINT8, x.rank, x.shape);
    for (size_t i = 0; i < x.count; i++) {
        const float value = data<float>(x)[i], scale = data<float>(s.scale)[at[i]];
        const int zero = data<int32_t>(s.zero)[at[i]];
        const int code = quantized(value, scale, zero, s.least, s.fmt.greatest);
        if (!fake) static_cast<int8_t *>(out)[i] = static_cast<int8_t>(code);
        else static_cast<float *>(out)[i] = std::isnan(value) ? NAN : static_cast<float>(code - zero) * scale;
    }
}

std::vector<float> values(const qc_tensor &codes, const Spec &s)
{
    if (codes.dtype != (s.fmt.is_signed ? QC_INT8 : QC_UINT8)) throw Refused{"codes of another dtype"};
    const auto at = entries(codes, s.scale);
    std::vector<float> out(codes.count);
    for (size_t i = 0; i < codes.count; i++) {
        const int code = code_of(codes, i);
        if (code < s.fmt.least || code > s.fmt.greatest) throw Refused{"a code outside the format"};
        out[i] = static_cast<float>(code - data<int32_t>(s.zero)[at[i]]) * data<float>(s.scale)[at[i]];
    }
    return out;
}
void dequantize(const qc_question *q, qc_answer *a)
{
    const qc_tensor codes = find(q, "codes");
    const auto out = values(codes, spec(q, "spec"));
    float *place = static_cast<float *>(qc_give(a, "values", QC_FLOAT32, codes.rank, codes.shape));
    std::copy(out.begin(), out.end(), place);
}
void qparams(const qc_question *q, qc_answer *a)
{
    const qc_tensor x = find(q, "x", QC_FLOAT32);
    const Integer fmt = integer(text(q, "spec/dtype"));
    const bool asymmetric = text(q, "spec/qscheme") == "asymmetric";
    if (text(q, "spec/granularity/type") != "per_tensor" || qc_given(q, "spec/scale_dtype")) throw Unsupported{"one scale only"};
    if (qc_given(q, "spec/float_range/0") || qc_given(q, "spec/float_range/1")) throw Unsupported{"no float_range"};
    if (text(q, "spec/qparam_calculator_cls") == "dynamic" && text(q, "target") == "weight") throw Refused{"a dynamic weight"};
    if (!x.count) throw Refused{"a tensor without elements"};
    float low = 0, high = 0;
    for (size_t i = 0; i < x.count; i++) {
        if (!std::isfinite(data<float>(x)[i])) throw Unsupported{"finite values only"};
        low = std::fmin(low, data<float>(x)[i]);
        high = std::fmax(high, data<float>(x)[i]);
    }
    low += 0.0f;  // no -0
    const int least = fmt.least + (fmt.is_signed && text(q, "spec/qscheme") == "symmetric_with_clipping");
    const float levels = static_cast<float>(fmt.greatest - least), greatest = std::fmax(-low, high);
    float scale = asymmetric ? (high - low) / levels : greatest / (levels / 2);
    scale = std::fmax(scale, std::numeric_limits<float>::epsilon());
    if (!std::isfinite(scale)) throw Unsupported{"finite ranges only"};
    int zero = fmt.is_signed ? 0 : (fmt.greatest + 1) / 2;
    if (asymmetric) zero = static_cast<int>(std::fmin(std::fmax(static_cast<float>(least) - std::nearbyintf(low / scale), static_cast<float>(least)), static_cast<float>(fmt.greatest)));
    const uint32_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    *static_cast<float *>(qc_give(a, "scale", QC_FLOAT32, x.rank, ones)) = scale;
    *static_cast<int32_t *>(qc_give(a, "zero_point", QC_INT32, x.rank, ones)) = zero;
    *static_cast<float *>(qc_give(a, "minval", QC_FLOAT32, x.rank, ones)) = asymmetric ? low : -greatest + 0.0f;
}
void code(const qc_question *q, qc_answer *a)
{
    const Float f = floating(text(q, "arguments/format"));
    if (!strcmp(q->operation, "encode")) {
        const qc_tensor x = find(q, "x", QC_FLOAT32);
        uint8_t *out = static_cast<uint8_t *>(qc_give(a, "codes", QC_UINT8, x.rank, x.shape));
        for (size_t i = 0; i < x.count; i++) out[i] = encoded(data<float>(x)[i], f);
        return;
    }
    const qc_tensor codes = find(q, "codes");
    if (codes.dtype != QC_UINT8) throw Refused{"codes of another dtype"};
    for (size_t i = 0; i < codes.count; i++)
        if (code_of(codes, i) >> (f.exponent + f.mantissa + 1)) throw Refused{"a code outside the format"};
    float *out = static_cast<float *>(qc_give(a, "values", QC_FLOAT32, codes.rank, codes.shape));
    for (size_t i = 0; i < codes.count; i++) out[i] = decoded(code_of(codes, i), f);
}
void pack(const qc_question *q, qc_answer *a)
{
    const std::string name = text(q, "arguments/format");
    const int bits = name == "float4_e2m1fn" ? 4 : integer(name).greatest >= 127 ? 8 : integer(name).greatest > 3 ? 4 : 2;
    const bool sign = name[0] == 'i', high = qc_is(q, "arguments/order", "high_first");
    if (!high && !qc_is(q, "arguments/order", "low_first")) throw Refused{"an order that there is not"};
    const uint32_t each = 8 / bits, mask = (1u << bits) - 1;
    const auto shift = [&](size_t i) { return bits * (high ? each - 1 - i % each : i % each); };
    if (!strcmp(q->operation, "pack")) {
        const qc_tensor codes = find(q, "codes", sign ? QC_INT8 : QC_UINT8);
        const int low = sign ? -(1 << (bits - 1)) : 0, top = low + static_cast<int>(mask);
        for (size_t i = 0; i < codes.count; i++)
            if (code_of(codes, i) < low || code_of(codes, i) > top) throw Refused{"a code outside the format"};
        const uint32_t size = static_cast<uint32_t>((codes.count + each - 1) / each);
        uint8_t *out = static_cast<uint8_t *>(qc_give(a, "packed", QC_UINT8, 1, &size));
        for (size_t i = 0; i < codes.count; i++) out[i / each] |= static_cast<uint8_t>((code_of(codes, i) & mask) << shift(i));
        return;
    }
    const qc_tensor packed = find(q, "packed", QC_UINT8);
    const int64_t count = qc_int(q, "arguments/count", -1);
    if (packed.rank != 1 || count < 0 || packed.count * each < static_cast<size_t>(count)) throw Refused{"bytes and count do not go together"};
    const uint32_t size = static_cast<uint32_t>(count);
    int8_t *out = static_cast<int8_t *>(qc_give(a, "codes", sign ? QC_INT8 : QC_UINT8, 1, &size));
    for (size_t i = 0; i < size; i++) {
        const int value = data<uint8_t>(packed)[i / each] >> shift(i) & mask;
        out[i] = static_cast<int8_t>(sign && value >> (bits - 1) ? value - (1 << bits) : value);
    }
}
// linear, and logsigmoid behind it, in double: one of the results that correct arithmetic can give.
void layer(const qc_question *q, qc_answer *a)
{
    const bool curved = qc_int(q, "arguments/steps", 0) == 2 && text(q, "arguments/steps/1/op") == "logsigmoid";
    if (text(q, "arguments/steps/0/op") != "linear" || (qc_int(q, "arguments/steps", 0) != 1 && !curved)) throw Unsupported{"linear, and logsigmoid behind it"};
    if (text(q, "arguments/arithmetic/values") != "float32") throw Unsupported{"float32 only"};
    const std::string left = text(q, "arguments/steps/0/inputs/0"), right = text(q, "arguments/steps/0/inputs/1");
    const std::string bias = text(q, "arguments/steps/0/inputs/2");
    const qc_tensor x = find(q, left), w = find(q, right);
    const auto xs = values(x, spec(q, "arguments/operands/" + left, left + ":"));
    const auto ws = values(w, spec(q, "arguments/operands/" + right, right + ":"));
    const Spec out = spec(q, "spec", "output:");
    if (out.scale.count != 1 || w.rank != 2) throw Unsupported{"one output scale only"};
    const uint32_t depth = w.shape[1], width = w.shape[0];
    const float *add = bias.empty() ? nullptr : data<float>(find(q, bias, QC_FLOAT32));
    qc_tensor y = x;
    y.shape[y.rank - 1] = width;
    int8_t *place = static_cast<int8_t *>(qc_give(a, "codes", out.fmt.is_signed ? QC_INT8 : QC_UINT8, y.rank, y.shape));
    for (size_t row = 0; row < x.count / depth; row++)
        for (uint32_t n = 0; n < width; n++) {
            double sum = add ? add[n] : 0.0;
            for (uint32_t k = 0; k < depth; k++) sum += static_cast<double>(xs[row * depth + k]) * ws[n * depth + k];
            if (curved) sum = std::fmin(sum, 0.0) - std::log1p(std::exp(-std::fabs(sum)));
            const float scale = data<float>(out.scale)[0];
            place[row * width + n] = static_cast<int8_t>(quantized(static_cast<float>(sum), scale, data<int32_t>(out.zero)[0], out.least, out.fmt.greatest));
        }
}
// The rule float64_even of INT-5.
int requantized(double acc, float input, float weight, float output, double zero, double least, double greatest)
{
    const double m = static_cast<double>(input) * weight / output;
    const double code = std::nearbyint(acc * m);
    return static_cast<int>(std::fmin(std::fmax(code, least - zero), greatest - zero) + zero);
}
void integer_layer(const qc_question *q, qc_answer *a)
{
    if (text(q, "arguments/op") != "linear") throw Unsupported{"linear only"};
    const Integer fmt = integer(text(q, "arguments/output/dtype"));
    const int64_t zero = qc_int(q, "arguments/output/zero_point", 0);
    const int64_t least = qc_int(q, "arguments/output/quant_min", fmt.least), greatest = qc_int(q, "arguments/output/quant_max", fmt.greatest);
    const qc_tensor x = find(q, "operand_0"), w = find(q, "operand_1");
    const qc_tensor xs = find(q, "operand_0:scale", QC_FLOAT32), xz = find(q, "operand_0:zero_point", QC_INT32);
    const qc_tensor ws = find(q, "operand_1:scale", QC_FLOAT32), wz = find(q, "operand_1:zero_point", QC_INT32);
    if (x.dtype > QC_UINT8 || w.dtype > QC_UINT8 || w.rank != 2) throw Unsupported{"8-bit codes only"};
    qc_tensor bias;
    const bool biased = qc_find(q, "bias", &bias);
    const float output = data<float>(find(q, "output:scale", QC_FLOAT32))[0];
    const uint32_t depth = w.shape[1], width = w.shape[0];
    qc_tensor y = x;
    y.shape[y.rank - 1] = width;
    int8_t *place = static_cast<int8_t *>(qc_give(a, "codes", fmt.is_signed ? QC_INT8 : QC_UINT8, y.rank, y.shape));
    for (size_t row = 0; row < x.count / depth; row++)
        for (uint32_t n = 0; n < width; n++) {
            int32_t acc = biased ? data<int32_t>(bias)[n] : 0;
            for (uint32_t k = 0; k < depth; k++)
                acc += (code_of(x, row * depth + k) - data<int32_t>(xz)[0]) * (code_of(w, n * depth + k) - data<int32_t>(wz)[wz.count > 1 ? n : 0]);
            const int code = requantized(acc, data<float>(xs)[0], data<float>(ws)[ws.count > 1 ? n : 0], output, static_cast<double>(zero), static_cast<double>(least), static_cast<double>(greatest));
            place[row * width + n] = static_cast<int8_t>(code);
        }
}
void answer(const qc_question *q, qc_answer *a)
{
    const std::string operation = q->operation;
    try {
        if (operation == "quantize" || operation == "fake_quantize") quantize(q, a, operation[0] == 'f');
        else if (operation == "dequantize") dequantize(q, a);
        else if (operation == "qparams") qparams(q, a);
        else if (operation == "encode" || operation == "decode") code(q, a);
        else if (operation == "pack" || operation == "unpack") pack(q, a);
        else if (operation == "layer") layer(q, a);
        else if (operation == "integer_layer") integer_layer(q, a);
        else throw Unsupported{operation + " is not offered"};
    } catch (const Unsupported &no) { qc_say(a, QC_UNSUPPORTED, no.reason.c_str());
    } catch (const Refused &no) { qc_say(a, QC_REFUSED, no.reason.c_str()); }
}

}  // namespace
int main(int argc, char **argv) { return qc_main(argc, argv, answer); }
