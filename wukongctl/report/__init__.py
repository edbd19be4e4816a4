"""A scaling report as files: HTML, Markdown, JSON, CSV and plots.

files         writes the files
document      the content of report.json and points.csv
wording       rounded numbers and sentences
plots, axes   plots, and their limits, ticks and labels
inline        SVG plots embedded in the HTML page
job_summary   Mermaid chart, size limit and benchmark series for CI
templates/    Jinja templates, style sheet and script
"""
