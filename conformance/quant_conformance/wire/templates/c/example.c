/* A backend in C99 that is exact on what it supports: integer formats with a zero point, FP8 and FP4
   codes, packing, linear layers. It allocates nothing but the answer, as firmware would. Compile with
   -ffp-contract=off: a fused multiply-add rounds once where the specification rounds twice. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include "wire.h"

typedef struct { const char *name; int least, greatest; } integer_format;
typedef struct { const char *name; int exponent, mantissa, bias, last; } float_format;
static const integer_format INTEGERS[] = {
    {"int2", -2, 1}, {"int4", -8, 7}, {"int8", -128, 127}, {"uint2", 0, 3}, {"uint4", 0, 15}, {"uint8", 0, 255}};
static const float_format FLOATS[] = {
    {"float8_e4m3fn", 4, 3, 7, 0x7e}, {"float8_e5m2", 5, 2, 15, 0x7b}, {"float4_e2m1fn", 2, 1, 1, 7}};
static const integer_format NIBBLES = {"float4_e2m1fn", 0, 15}; /* as pack and unpack see it */
static jmp_buf stopped;
static const char *why;
static void unsupported(const char *reason) { why = reason; longjmp(stopped, QC_UNSUPPORTED); }
static void refused(const char *reason) { why = reason; longjmp(stopped, QC_REFUSED); }

typedef struct { char text[192]; } path;
static path joined(const char *first, const char *second) /* of an attribute or a tensor */
{
    path p;
    snprintf(p.text, sizeof p.text, "%s%s", first, second);
    return p;
}
static integer_format integer(const qc_question *q, const char *key)
{
    for (size_t i = 0; i < sizeof INTEGERS / sizeof *INTEGERS; i++)
        if (qc_is(q, key, INTEGERS[i].name)) return INTEGERS[i];
    unsupported("no such format");
    return *INTEGERS;
}
static float_format floating(const qc_question *q)
{
    for (size_t i = 0; i < sizeof FLOATS / sizeof *FLOATS; i++)
        if (qc_is(q, "arguments/format", FLOATS[i].name)) return FLOATS[i];
    unsupported("no such format");
    return *FLOATS;
}
static int dtype_of(integer_format f) { return f.least < 0 ? QC_INT8 : QC_UINT8; }
static qc_tensor find(const qc_question *q, const char *name, int dtype) /* 0 for any dtype */
{
    qc_tensor t;
    if (!qc_find(q, name, &t)) unsupported("a tensor is missing");
    if (dtype && t.dtype != dtype) unsupported("a tensor of another dtype");
    return t;
}
static float f32(const qc_tensor *t, size_t i) { return ((const float *)t->data)[i]; }
static int i32(const qc_tensor *t, size_t i) { return ((const int32_t *)t->data)[i]; }
static int code_of(const qc_tensor *t, size_t i) { return t->dtype == QC_INT8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i]; }
static double clamped(double x, double least, double greatest) { return fmin(fmax(x, least), greatest); }

static float decoded(int code, float_format f)
{
    const int width = f.exponent + f.mantissa, size = code & ((1 << width) - 1);
    const int m = size & ((1 << f.mantissa) - 1), e = size >> f.mantissa;
    const float sign = code >> width & 1 ? -1.0f : 1.0f;
    if (size > f.last) return size == 0x7c ? sign * INFINITY : NAN;
    return sign * ldexpf((float)(m + (e ? 1 << f.mantissa : 0)), (e ? e : 1) - f.bias - f.mantissa);
}
static uint8_t encoded(float x, float_format f)
{
    const int sign = signbit(x) ? 1 << (f.exponent + f.mantissa) : 0;
    int best = 0;
    if (isnan(x)) return (uint8_t)(f.last == 7 ? 0 : sign | (f.last == 0x7e ? 0x7f : 0x7e));
    for (int code = 1; code <= f.last; code++) {
        const double middle = ((double)decoded(best, f) + decoded(code, f)) / 2; /* exact */
        if (fabs((double)x) > middle || (fabs((double)x) == middle && code % 2 == 0)) best = code;
    }
    return (uint8_t)(sign | best);
}
static void encode(const qc_question *q, qc_answer *a)
{
    const float_format f = floating(q);
    const qc_tensor x = find(q, "x", QC_FLOAT32);
    uint8_t *out = (uint8_t *)qc_give(a, "codes", QC_UINT8, x.rank, x.shape);
    for (size_t i = 0; i < x.count; i++) out[i] = encoded(f32(&x, i), f);
}
static void decode(const qc_question *q, qc_answer *a)
{
    const float_format f = floating(q);
    const qc_tensor codes = find(q, "codes", 0);
    if (codes.dtype != QC_UINT8) refused("codes of another dtype");
    for (size_t i = 0; i < codes.count; i++)
        if (code_of(&codes, i) >> (f.exponent + f.mantissa + 1)) refused("a code outside the format");
    float *out = (float *)qc_give(a, "values", QC_FLOAT32, codes.rank, codes.shape);
    for (size_t i = 0; i < codes.count; i++) out[i] = decoded(code_of(&codes, i), f);
}

typedef struct { integer_format fmt; int least; qc_tensor scale, zero; } spec;
static spec spec_of(const qc_question *q, const char *at, const char *prefix)
{
    spec s;
    if (!qc_is(q, joined(at, "/qformulation").text, "zp")) unsupported("a zero point only");
    s.fmt = integer(q, joined(at, "/dtype").text);
    s.scale = find(q, joined(prefix, "scale").text, 0);
    s.zero = find(q, joined(prefix, "zero_point").text, 0);
    if (s.scale.dtype != QC_FLOAT32 || s.zero.dtype != QC_INT32) refused("qparams of another dtype");
    if (s.scale.rank != s.zero.rank || memcmp(s.scale.shape, s.zero.shape, 4u * (size_t)s.scale.rank)) refused("qparams of two shapes");
    s.least = s.fmt.least + (s.fmt.least < 0 && qc_is(q, joined(at, "/qscheme").text, "symmetric_with_clipping"));
    for (size_t i = 0; i < s.scale.count; i++) {
        if (!isnormal(f32(&s.scale, i)) || f32(&s.scale, i) < 0) unsupported("positive normal scales only");
        if (i32(&s.zero, i) < s.least || i32(&s.zero, i) > s.fmt.greatest) refused("a zero point outside the format");
    }
    return s;
}
static void check_blocks(const qc_tensor *x, const qc_tensor *p)
{
    if (p->rank != x->rank) refused("qparams of another rank");
    for (int d = 0; d < x->rank; d++)
        if (p->shape[d] ? x->shape[d] % p->shape[d] : x->shape[d]) refused("qparams that do not tile the tensor");
}
/* The place of an element's entry in qparams of one entry for each block. */
static size_t entry(const qc_tensor *x, const qc_tensor *p, size_t i)
{
    size_t place = 0, stride = 1;
    for (int d = x->rank - 1; d >= 0; d--) {
        place += i % x->shape[d] / (x->shape[d] / p->shape[d]) * stride;
        i /= x->shape[d];
        stride *= p->shape[d];
    }
    return place;
}
static int quantized(float x, const spec *s, size_t at)
{
    if (isnan(x)) return i32(&s->zero, at);
    const float code = nearbyintf(x / f32(&s->scale, at)) + (float)i32(&s->zero, at);
    return (int)clamped(code, s->least, s->fmt.greatest);
}
static float value_of(int code, const spec *s, size_t at) { return (float)(code - i32(&s->zero, at)) * f32(&s->scale, at); }
static void check_codes(const qc_tensor *codes, const spec *s) /* and the blocks */
{
    if (codes->dtype != dtype_of(s->fmt)) refused("codes of another dtype");
    check_blocks(codes, &s->scale);
    for (size_t i = 0; i < codes->count; i++)
        if (code_of(codes, i) < s->fmt.least || code_of(codes, i) > s->fmt.greatest) refused("a code outside the format");
}
static void quantize_or_fake(const qc_question *q, qc_answer *a, int fake)
{
    const qc_tensor x = find(q, "x", QC_FLOAT32);
    const spec s = spec_of(q, "spec", "");
    check_blocks(&x, &s.scale);
    void *out = qc_give(a, fake ? "values" : "codes", fake ? QC_FLOAT32 : dtype_of(s.fmt), x.rank, x.shape);
    for (size_t i = 0; i < x.count; i++) {
        const size_t at = entry(&x, &s.scale, i);
        const int code = quantized(f32(&x, i), &s, at);
        if (fake) ((float *)out)[i] = isnan(f32(&x, i)) ? NAN : value_of(code, &s, at);
        else ((uint8_t *)out)[i] = (uint8_t)code;
    }
}
static void quantize(const qc_question *q, qc_answer *a) { quantize_or_fake(q, a, 0); }
static void fake_quantize(const qc_question *q, qc_answer *a) { quantize_or_fake(q, a, 1); }
static void dequantize(const qc_question *q, qc_answer *a)
{
    const qc_tensor codes = find(q, "codes", 0);
    const spec s = spec_of(q, "spec", "");
    check_codes(&codes, &s);
    float *out = (float *)qc_give(a, "values", QC_FLOAT32, codes.rank, codes.shape);
    for (size_t i = 0; i < codes.count; i++) out[i] = value_of(code_of(&codes, i), &s, entry(&codes, &s.scale, i));
}
static void qparams(const qc_question *q, qc_answer *a)
{
    const qc_tensor x = find(q, "x", QC_FLOAT32);
    const integer_format fmt = integer(q, "spec/dtype");
    const int asymmetric = qc_is(q, "spec/qscheme", "asymmetric");
    const int least = fmt.least + (fmt.least < 0 && qc_is(q, "spec/qscheme", "symmetric_with_clipping"));
    if (!qc_is(q, "spec/granularity/type", "per_tensor") || qc_given(q, "spec/scale_dtype")) unsupported("one scale only");
    if (qc_given(q, "spec/float_range/0") || qc_given(q, "spec/float_range/1")) unsupported("no float_range");
    if (qc_is(q, "spec/qparam_calculator_cls", "dynamic") && qc_is(q, "target", "weight")) refused("a dynamic weight");
    if (!x.count) refused("a tensor without elements");
    float low = 0, high = 0;
    for (size_t i = 0; i < x.count; i++) {
        if (!isfinite(f32(&x, i))) unsupported("finite values only");
        low = fminf(low, f32(&x, i));
        high = fmaxf(high, f32(&x, i));
    }
    low += 0.0f; /* no -0 */
    const float levels = (float)(fmt.greatest - least), size = fmaxf(-low, high);
    const float scale = fmaxf(asymmetric ? (high - low) / levels : size / (levels / 2), FLT_EPSILON);
    if (!isfinite(scale)) unsupported("finite ranges only");
    int zero = fmt.least < 0 ? 0 : (fmt.greatest + 1) / 2;
    if (asymmetric) zero = (int)clamped((float)least - nearbyintf(low / scale), least, fmt.greatest);
    const uint32_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    *(float *)qc_give(a, "scale", QC_FLOAT32, x.rank, ones) = scale;
    *(int32_t *)qc_give(a, "zero_point", QC_INT32, x.rank, ones) = zero;
    *(float *)qc_give(a, "minval", QC_FLOAT32, x.rank, ones) = asymmetric ? low : -size + 0.0f;
}
typedef struct { uint32_t bits; int high; } packing;
static integer_format packing_of(const qc_question *q, packing *p)
{
    const integer_format f = qc_is(q, "arguments/format", NIBBLES.name) ? NIBBLES : integer(q, "arguments/format");
    p->high = qc_is(q, "arguments/order", "high_first");
    p->bits = f.greatest - f.least > 15 ? 8 : f.greatest - f.least > 3 ? 4 : 2;
    if (!p->high && !qc_is(q, "arguments/order", "low_first")) refused("an order that there is not");
    return f;
}
static uint32_t shift_of(const packing *p, size_t i)
{
    const uint32_t each = 8 / p->bits, place = (uint32_t)(i % each);
    return p->bits * (p->high ? each - 1 - place : place);
}
static void pack(const qc_question *q, qc_answer *a)
{
    packing p;
    const integer_format f = packing_of(q, &p);
    const qc_tensor codes = find(q, "codes", dtype_of(f));
    for (size_t i = 0; i < codes.count; i++)
        if (code_of(&codes, i) < f.least || code_of(&codes, i) > f.greatest) refused("a code outside the format");
    const uint32_t each = 8 / p.bits, size = (uint32_t)((codes.count + each - 1) / each);
    uint8_t *out = (uint8_t *)qc_give(a, "packed", QC_UINT8, 1, &size);
    for (size_t i = 0; i < codes.count; i++)
        out[i / each] |= (uint8_t)(((uint32_t)code_of(&codes, i) & ((1u << p.bits) - 1)) << shift_of(&p, i));
}
static void unpack(const qc_question *q, qc_answer *a)
{
    packing p;
    const integer_format f = packing_of(q, &p);
    const qc_tensor packed = find(q, "packed", QC_UINT8);
    const int64_t count = qc_int(q, "arguments/count", -1);
    if (packed.rank != 1 || count < 0 || packed.count * (8 / p.bits) < (uint64_t)count) refused("bytes and count do not go together");
    const uint32_t size = (uint32_t)count;
    uint8_t *out = (uint8_t *)qc_give(a, "codes", dtype_of(f), 1, &size);
    for (size_t i = 0; i < size; i++) {
        const int code = code_of(&packed, i / (8 / p.bits)) >> shift_of(&p, i) & ((1 << p.bits) - 1);
        out[i] = (uint8_t)(code > f.greatest ? code - (1 << p.bits) : code);
    }
}
/* linear, and logsigmoid behind it, in double: one of the results that correct arithmetic can give. */
static void layer(const qc_question *q, qc_answer *a)
{
    const int64_t steps = qc_int(q, "arguments/steps", 0);
    const int curved = steps == 2 && qc_is(q, "arguments/steps/1/op", "logsigmoid");
    char left[64], right[64], third[64];
    if (!qc_is(q, "arguments/steps/0/op", "linear") || (steps != 1 && !curved)) unsupported("linear, and logsigmoid behind it");
    if (!qc_is(q, "arguments/arithmetic/values", "float32")) unsupported("float32 only");
    const qc_tensor x = find(q, qc_text(q, "arguments/steps/0/inputs/0", left, sizeof left), 0);
    const qc_tensor w = find(q, qc_text(q, "arguments/steps/0/inputs/1", right, sizeof right), 0);
    const qc_tensor bias = *qc_text(q, "arguments/steps/0/inputs/2", third, sizeof third) ? find(q, third, QC_FLOAT32) : x;
    const spec xs = spec_of(q, joined("arguments/operands/", left).text, joined(left, ":").text);
    const spec ws = spec_of(q, joined("arguments/operands/", right).text, joined(right, ":").text);
    const spec out = spec_of(q, "spec", "output:");
    check_codes(&x, &xs);
    check_codes(&w, &ws);
    if (out.scale.count != 1 || w.rank != 2) unsupported("one output scale only");
    const uint32_t depth = w.shape[1], width = w.shape[0];
    qc_tensor y = x;
    y.shape[y.rank - 1] = width;
    uint8_t *codes = (uint8_t *)qc_give(a, "codes", dtype_of(out.fmt), y.rank, y.shape);
    for (size_t i = 0; i < x.count / depth * width; i++) {
        const size_t row = i / width, n = i % width;
        double sum = *third ? f32(&bias, n) : 0.0;
        for (size_t u = row * depth, v = n * depth; v < (n + 1) * depth; u++, v++)
            sum += (double)value_of(code_of(&x, u), &xs, entry(&x, &xs.scale, u)) * value_of(code_of(&w, v), &ws, entry(&w, &ws.scale, v));
        if (curved) sum = fmin(sum, 0.0) - log1p(exp(-fabs(sum)));
        codes[i] = (uint8_t)quantized((float)sum, &out, 0);
    }
}
static void integer_layer(const qc_question *q, qc_answer *a)
{
    if (!qc_is(q, "arguments/op", "linear")) unsupported("linear only");
    const integer_format fmt = integer(q, "arguments/output/dtype");
    const int64_t zero = qc_int(q, "arguments/output/zero_point", 0);
    const int64_t least = qc_int(q, "arguments/output/quant_min", fmt.least), greatest = qc_int(q, "arguments/output/quant_max", fmt.greatest);
    const qc_tensor x = find(q, "operand_0", 0), w = find(q, "operand_1", 0), output = find(q, "output:scale", QC_FLOAT32);
    const qc_tensor xs = find(q, "operand_0:scale", QC_FLOAT32), xz = find(q, "operand_0:zero_point", QC_INT32);
    const qc_tensor ws = find(q, "operand_1:scale", QC_FLOAT32), wz = find(q, "operand_1:zero_point", QC_INT32);
    qc_tensor bias, y = x;
    if (x.dtype > QC_UINT8 || w.dtype > QC_UINT8 || w.rank != 2) unsupported("8-bit codes only");
    const int biased = qc_find(q, "bias", &bias);
    const uint32_t depth = w.shape[1], width = w.shape[0];
    y.shape[y.rank - 1] = width;
    uint8_t *codes = (uint8_t *)qc_give(a, "codes", dtype_of(fmt), y.rank, y.shape);
    for (size_t i = 0; i < x.count / depth * width; i++) {
        const size_t row = i / width, n = i % width;
        int32_t acc = biased ? i32(&bias, n) : 0;
        for (size_t k = 0; k < depth; k++)
            acc += (code_of(&x, row * depth + k) - i32(&xz, 0)) * (code_of(&w, n * depth + k) - i32(&wz, wz.count > 1 ? n : 0));
        /* The rule float64_even of INT-5. */
        const double scale = (double)f32(&xs, 0) * f32(&ws, ws.count > 1 ? n : 0) / f32(&output, 0);
        codes[i] = (uint8_t)(int)(clamped(nearbyint(acc * scale), (double)(least - zero), (double)(greatest - zero)) + (double)zero);
    }
}
static const struct { const char *name; void (*function)(const qc_question *, qc_answer *); } OPERATIONS[] = {
    {"encode", encode}, {"decode", decode}, {"pack", pack}, {"unpack", unpack}, {"qparams", qparams}, {"quantize", quantize},
    {"dequantize", dequantize}, {"fake_quantize", fake_quantize}, {"layer", layer}, {"integer_layer", integer_layer}};
static void answer(const qc_question *q, qc_answer *a)
{
    const int status = setjmp(stopped);
    if (status) { qc_say(a, status, why); return; }
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++)
        if (!strcmp(q->operation, OPERATIONS[i].name)) { OPERATIONS[i].function(q, a); return; }
    unsupported("not offered");
}

int main(int argc, char **argv) { return qc_main(argc, argv, answer); }
