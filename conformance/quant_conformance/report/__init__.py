"""From verdicts to what a person or a program reads: tables, explanations, JSON, Markdown, HTML."""
