"""What the converters make of each ATen operation on its own: ``quant-conformance converters``.

A model of one operation goes through each converter twice: as the converter has it, and by
``quant_torch.export``, which writes out what the converter gets wrong. The results are held to the
bounds of SPEC.md, chapter 15, where the gate has them, and to torch's bits otherwise.
"""
