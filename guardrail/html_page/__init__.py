"""HTML pages that need nothing else, and the one home of what all pages look like.

`tokens.css` has the colours, in a light and a dark scheme, and the typefaces; the console's style
sheet begins with it as well. `report.css` is the style of reports. `page.py` frames and writes a
report, `parts.py` makes what reports are made of: facts, tables, charts in boxes that scroll.
"""
