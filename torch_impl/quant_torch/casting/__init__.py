"""16-bit precision for exported programs: float32 to float16, int32 and int64 to int16.

The passes change an ``ExportedProgram`` in place, before it goes to the converter::

    exported_program = torch.export.export(finalized_model, example_inputs)
    exported_program = exported_program.run_decompositions(coreai_torch.get_decomp_table())
    cast_to_16_bit_precision(exported_program)
"""

from quant_torch.casting._passes import (
    cast_fp32_to_fp16,
    cast_int32_to_int16,
    cast_to_16_bit_precision,
)

__all__ = ["cast_fp32_to_fp16", "cast_int32_to_int16", "cast_to_16_bit_precision"]
