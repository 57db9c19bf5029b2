"""The page at the root: where the services are."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from gateway.routers.deps import BaseUrl, CallerDep, GatewayDep

router = APIRouter(include_in_schema=False)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1c2430 }}
 code, pre {{ font: 14px/1.5 ui-monospace, monospace; background: #f2f4f7; border-radius: 4px }}
 code {{ padding: .1em .3em }} pre {{ padding: 1rem; overflow-x: auto }}
 td {{ padding: .2rem 1.2rem .2rem 0; vertical-align: top }} td.n {{ text-align: right }}
 a {{ color: #0b57a4 }}
</style></head><body>
<h1>{title}</h1>
<p>A Virtual Observatory service. Give <code>{base}/tap</code> to TOPCAT, Aladin or pyvo:</p>
<pre>import pyvo
tap = pyvo.dal.TAPService("{base}/tap")
print(tap.search("SELECT TOP 5 * FROM tap_schema.tables").to_table())</pre>
<p>Images are found with <code>{base}/sia2</code>, and cut where each leads:</p>
<pre>image = pyvo.dal.SIA2Service("{base}/sia2").search(maxrec=1)[0]
cutout = image.processed(circle=(image["s_ra"], image["s_dec"], 0.05))</pre>
<h2>Tables</h2>
<table>{tables}</table>
<h2>Service</h2>
<p><a href="{base}/tap">TAP</a> · <a href="{base}/tap/tables">tables</a> ·
<a href="{base}/tap/capabilities">capabilities</a> · <a href="{base}/tap/availability">availability</a> ·
<a href="{base}/scs">Cone Search</a> · <a href="{base}/sia2/capabilities">SIA 2</a> · <a href="{base}/soda/capabilities">SODA</a> ·
<a href="{base}/datalink/capabilities">DataLink</a> · <a href="{base}/docs">OpenAPI</a></p>
<p><small>vo-gateway {version}</small></p>
</body></html>
"""

FIRST_LINE = 160
"""Characters of a table's description that the page shows."""


@router.get("/")
async def home(gateway: GatewayDep, caller: CallerDep, base: BaseUrl) -> Response:
    """Show a person what is here."""
    tableset = await gateway.queries.tableset(caller)
    rows = "".join(
        f'<tr><td><a href="{escape(base)}/tap/tables/{escape(table.qualified_name)}">{escape(table.qualified_name)}</a></td>'
        f'<td class="n">{"" if table.nrows is None else f"{table.nrows:,}"}</td>'
        f"<td>{escape((table.description or '').partition(chr(10))[0][:FIRST_LINE])}</td></tr>"
        for table in tableset.tables
        if table.schema != "tap_schema"
    )
    page = PAGE.format(
        title=escape(gateway.site.title),
        base=escape(base),
        tables=rows or "<tr><td>None yet: <code>gateway ingest table FILE --name schema.table</code></td></tr>",
        version=escape(gateway.site.version),
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})
