"""The console at `/console`: pages for reviewers, rendered on the server.

**A page** is a module of `pages/` with a tuple `ROUTES`, and a line in `app.py`. A route names its
path, its handler, and which roles open it:

    ROUTES = (
        ConsoleRoute("GET", "/labels", show_queue, REVIEWERS, nav="Label"),
        ConsoleRoute("POST", "/labels", add_label, REVIEWERS),
    )

    async def show_queue(visit: Visit) -> Response:
        rows = await visit.run(read_queue, visit.console.database)   # blocks: in a thread
        return visit.render("labels.html", rows=rows)

    async def add_label(visit: Visit) -> Response:
        verdict = visit.form.get("verdict", "")                      # checked before, see below
        ...
        return visit.redirect("/labels")

**Roles.** A handler is entered only by a visitor who has one of the route's roles; `visit.may`
asks again where a page shows a part to some only, and templates ask it by the same name. `nav` puts
the page into the menu of those who may open it; `on_decision="Replay …"` puts a button on the page
of each decision, which leads to this path with `{record_id}` in it.

**Forms.** Whatever is no GET carries the session's token: `{{ csrf_field() }}` stands in every
form, and `static/console.js` sends it as a header with htmx's requests. It is checked before the
handler is entered, as is the origin of every request; a route cannot leave it out. Forms are
`application/x-www-form-urlencoded`, of at most `most_bytes`; a file goes as a data URL in a field.

**Templates** extend `base.html` (blocks `title` and `main`). All values are escaped. Never use
`|safe`: markup of our own making is `Markup` already. There are no inline scripts and no inline
styles: the Content-Security-Policy forbids both, so a width or a colour is a class, or an attribute
of an SVG. Filters: `time`, `count`, `usd`, `seconds`, `share`, `radius`.

**Charts** are drawn on the server: `charts.py` makes SVG of numbers, with the page's colours by
`var(--…)` in its attributes, and beside each a table with the same numbers.

**Words.** stopped, let through, missed harm, false alarms, recall, how far a picture may be
changed, calls, dollars. Greek letters stand in `title` attributes only.
"""
