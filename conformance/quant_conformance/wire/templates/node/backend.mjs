// A backend in JavaScript: fill in what your system has, and delete the rest.
import { Unsupported, serve } from "./wire.mjs";

const operations = {
  encode(q) { throw new Unsupported("encode is not implemented"); },
  decode(q) { throw new Unsupported("decode is not implemented"); },
  pack(q) { throw new Unsupported("pack is not implemented"); },
  unpack(q) { throw new Unsupported("unpack is not implemented"); },
  value_range(q) { throw new Unsupported("value_range is not implemented"); },
  qparams(q) { throw new Unsupported("qparams is not implemented"); },
  quantize(q) { throw new Unsupported("quantize is not implemented"); },
  dequantize(q) { throw new Unsupported("dequantize is not implemented"); },
  fake_quantize(q) { throw new Unsupported("fake_quantize is not implemented"); },
  gradient(q) { throw new Unsupported("gradient is not implemented"); },
  observe(q) { throw new Unsupported("observe is not implemented"); },
  default_axis(q) { throw new Unsupported("default_axis is not implemented"); },
  fold_batch_norm(q) { throw new Unsupported("fold_batch_norm is not implemented"); },
  lifecycle(q) { throw new Unsupported("lifecycle is not implemented"); },
  export_weights(q) { throw new Unsupported("export_weights is not implemented"); },
  layer(q) { throw new Unsupported("layer is not implemented"); },
  float_layer(q) { throw new Unsupported("float_layer is not implemented"); },
  requantize(q) { throw new Unsupported("requantize is not implemented"); },
  integer_layer(q) { throw new Unsupported("integer_layer is not implemented"); },
  validate_spec(q) { throw new Unsupported("validate_spec is not implemented"); },
  scale_layout(q) { throw new Unsupported("scale_layout is not implemented"); },
  block_scale(q) { throw new Unsupported("block_scale is not implemented"); },
  block_quantize(q) { throw new Unsupported("block_quantize is not implemented"); },
  block_dequantize(q) { throw new Unsupported("block_dequantize is not implemented"); },
  block_dot(q) { throw new Unsupported("block_dot is not implemented"); },
};

serve((q) => {
  if (!operations[q.operation]) throw new Unsupported("an operation that this program does not know");
  return operations[q.operation](q);
});
