/* A backend in C or C++: fill in what your system has, and delete the rest. */
#include "wire.h"

static void answer_encode(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "encode is not implemented"); }
static void answer_decode(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "decode is not implemented"); }
static void answer_pack(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "pack is not implemented"); }
static void answer_unpack(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "unpack is not implemented"); }
static void answer_value_range(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "value_range is not implemented"); }
static void answer_qparams(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "qparams is not implemented"); }
static void answer_quantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "quantize is not implemented"); }
static void answer_dequantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "dequantize is not implemented"); }
static void answer_fake_quantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "fake_quantize is not implemented"); }
static void answer_gradient(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "gradient is not implemented"); }
static void answer_observe(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "observe is not implemented"); }
static void answer_default_axis(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "default_axis is not implemented"); }
static void answer_fold_batch_norm(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "fold_batch_norm is not implemented"); }
static void answer_lifecycle(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "lifecycle is not implemented"); }
static void answer_export_weights(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "export_weights is not implemented"); }
static void answer_layer(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "layer is not implemented"); }
static void answer_float_layer(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "float_layer is not implemented"); }
static void answer_requantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "requantize is not implemented"); }
static void answer_integer_layer(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "integer_layer is not implemented"); }
static void answer_validate_spec(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "validate_spec is not implemented"); }
static void answer_scale_layout(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "scale_layout is not implemented"); }
static void answer_block_scale(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "block_scale is not implemented"); }
static void answer_block_quantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "block_quantize is not implemented"); }
static void answer_block_dequantize(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "block_dequantize is not implemented"); }
static void answer_block_dot(const qc_question *q, qc_answer *a) { (void)q; qc_say(a, QC_UNSUPPORTED, "block_dot is not implemented"); }

static void answer(const qc_question *q, qc_answer *a)
{
    if (!strcmp(q->operation, "encode")) { answer_encode(q, a); return; }
    if (!strcmp(q->operation, "decode")) { answer_decode(q, a); return; }
    if (!strcmp(q->operation, "pack")) { answer_pack(q, a); return; }
    if (!strcmp(q->operation, "unpack")) { answer_unpack(q, a); return; }
    if (!strcmp(q->operation, "value_range")) { answer_value_range(q, a); return; }
    if (!strcmp(q->operation, "qparams")) { answer_qparams(q, a); return; }
    if (!strcmp(q->operation, "quantize")) { answer_quantize(q, a); return; }
    if (!strcmp(q->operation, "dequantize")) { answer_dequantize(q, a); return; }
    if (!strcmp(q->operation, "fake_quantize")) { answer_fake_quantize(q, a); return; }
    if (!strcmp(q->operation, "gradient")) { answer_gradient(q, a); return; }
    if (!strcmp(q->operation, "observe")) { answer_observe(q, a); return; }
    if (!strcmp(q->operation, "default_axis")) { answer_default_axis(q, a); return; }
    if (!strcmp(q->operation, "fold_batch_norm")) { answer_fold_batch_norm(q, a); return; }
    if (!strcmp(q->operation, "lifecycle")) { answer_lifecycle(q, a); return; }
    if (!strcmp(q->operation, "export_weights")) { answer_export_weights(q, a); return; }
    if (!strcmp(q->operation, "layer")) { answer_layer(q, a); return; }
    if (!strcmp(q->operation, "float_layer")) { answer_float_layer(q, a); return; }
    if (!strcmp(q->operation, "requantize")) { answer_requantize(q, a); return; }
    if (!strcmp(q->operation, "integer_layer")) { answer_integer_layer(q, a); return; }
    if (!strcmp(q->operation, "validate_spec")) { answer_validate_spec(q, a); return; }
    if (!strcmp(q->operation, "scale_layout")) { answer_scale_layout(q, a); return; }
    if (!strcmp(q->operation, "block_scale")) { answer_block_scale(q, a); return; }
    if (!strcmp(q->operation, "block_quantize")) { answer_block_quantize(q, a); return; }
    if (!strcmp(q->operation, "block_dequantize")) { answer_block_dequantize(q, a); return; }
    if (!strcmp(q->operation, "block_dot")) { answer_block_dot(q, a); return; }
    qc_say(a, QC_UNSUPPORTED, "an operation that this program does not know");
}

int main(int argc, char **argv) { return qc_main(argc, argv, answer); }
