"""A scaling report as files: HTML, Markdown, JSON, CSV and pictures.

files         the files and their contents
wording       numbers rounded for reading, and the sentences
plots, axes   the pictures, and scales that read well
inline        a picture inside the HTML page
job_summary   Mermaid chart, length limit and benchmark series for CI
templates/    Jinja templates, style and script
"""
