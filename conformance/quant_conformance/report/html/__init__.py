"""Reports as one self-contained HTML file: of a run, and of the gate on an exported model."""

from __future__ import annotations

from quant_conformance.report.html.facts import Facts, gather_facts, now
from quant_conformance.report.html.gate_page import check_gate, gate_html_text, gate_schema
from quant_conformance.report.html.run_page import html_text

__all__ = [
    "Facts",
    "check_gate",
    "gate_html_text",
    "gate_schema",
    "gather_facts",
    "html_text",
    "now",
]
