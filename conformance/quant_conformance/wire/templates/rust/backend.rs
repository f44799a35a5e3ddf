// A backend in Rust: fill in what your system has, and delete the rest.
mod wire;
use wire::{serve, unsupported, Answer, Question};

fn encode(_: &Question) -> Answer {
    unsupported("encode is not implemented")
}
fn decode(_: &Question) -> Answer {
    unsupported("decode is not implemented")
}
fn pack(_: &Question) -> Answer {
    unsupported("pack is not implemented")
}
fn unpack(_: &Question) -> Answer {
    unsupported("unpack is not implemented")
}
fn value_range(_: &Question) -> Answer {
    unsupported("value_range is not implemented")
}
fn qparams(_: &Question) -> Answer {
    unsupported("qparams is not implemented")
}
fn quantize(_: &Question) -> Answer {
    unsupported("quantize is not implemented")
}
fn dequantize(_: &Question) -> Answer {
    unsupported("dequantize is not implemented")
}
fn fake_quantize(_: &Question) -> Answer {
    unsupported("fake_quantize is not implemented")
}
fn gradient(_: &Question) -> Answer {
    unsupported("gradient is not implemented")
}
fn observe(_: &Question) -> Answer {
    unsupported("observe is not implemented")
}
fn default_axis(_: &Question) -> Answer {
    unsupported("default_axis is not implemented")
}
fn fold_batch_norm(_: &Question) -> Answer {
    unsupported("fold_batch_norm is not implemented")
}
fn lifecycle(_: &Question) -> Answer {
    unsupported("lifecycle is not implemented")
}
fn export_weights(_: &Question) -> Answer {
    unsupported("export_weights is not implemented")
}
fn layer(_: &Question) -> Answer {
    unsupported("layer is not implemented")
}
fn float_layer(_: &Question) -> Answer {
    unsupported("float_layer is not implemented")
}
fn requantize(_: &Question) -> Answer {
    unsupported("requantize is not implemented")
}
fn integer_layer(_: &Question) -> Answer {
    unsupported("integer_layer is not implemented")
}
fn validate_spec(_: &Question) -> Answer {
    unsupported("validate_spec is not implemented")
}
fn scale_layout(_: &Question) -> Answer {
    unsupported("scale_layout is not implemented")
}
fn block_scale(_: &Question) -> Answer {
    unsupported("block_scale is not implemented")
}
fn block_quantize(_: &Question) -> Answer {
    unsupported("block_quantize is not implemented")
}
fn block_dequantize(_: &Question) -> Answer {
    unsupported("block_dequantize is not implemented")
}
fn block_dot(_: &Question) -> Answer {
    unsupported("block_dot is not implemented")
}

fn answer(q: &Question) -> Answer {
    match q.operation.as_str() {
        "encode" => encode(q),
        "decode" => decode(q),
        "pack" => pack(q),
        "unpack" => unpack(q),
        "value_range" => value_range(q),
        "qparams" => qparams(q),
        "quantize" => quantize(q),
        "dequantize" => dequantize(q),
        "fake_quantize" => fake_quantize(q),
        "gradient" => gradient(q),
        "observe" => observe(q),
        "default_axis" => default_axis(q),
        "fold_batch_norm" => fold_batch_norm(q),
        "lifecycle" => lifecycle(q),
        "export_weights" => export_weights(q),
        "layer" => layer(q),
        "float_layer" => float_layer(q),
        "requantize" => requantize(q),
        "integer_layer" => integer_layer(q),
        "validate_spec" => validate_spec(q),
        "scale_layout" => scale_layout(q),
        "block_scale" => block_scale(q),
        "block_quantize" => block_quantize(q),
        "block_dequantize" => block_dequantize(q),
        "block_dot" => block_dot(q),
        _ => unsupported("an operation that this program does not know"),
    }
}

fn main() -> std::io::Result<()> {
    serve(answer)
}
