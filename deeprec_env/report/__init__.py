"""Reports: one page from any result, as self-contained HTML or as Markdown."""
