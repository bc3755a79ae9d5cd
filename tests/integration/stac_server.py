"""A small STAC API on loopback, with the faults that servers have.

It answers as the APIs of STAC 1.0 do (links to the next page, by GET and by POST), or as the BDC's
of STAC 0.9 (page and limit). It knows nothing of the code under test.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

STYLES = ("1.0", "1.0 GET", "0.9")
# What a server may do instead of answering.
FAULTS = ("429", "500", "503", "dropped", "cut", "cut JSON", "silent")


class StacServer:
    """A STAC API of some items, and static files below /files/.

    Attributes
    ----------
    faults
        What happens to the next searches, one after the other; None is an answer.
    ignores
        Parameters of a search that the server takes no notice of.
    refuses
        Parameters of a search that it answers with 400.
    most
        Most items on a page, whatever is asked.
    token
        What it wants to see, by ``header`` or ``query``.
    echoes
        It writes the token into links, headers and hrefs of assets.
    asked
        Method, path with query, headers and body of each request.
    """

    def __init__(self, items, style="1.0"):
        self.items = items
        self.style = style
        self.faults = []
        self.fail_always = None
        self.retry_after = "0"
        self.silence = 0.4
        self.ignores = ()
        self.refuses = ()
        self.most = 10_000
        self.token = None
        self.token_in = "header"
        self.echoes = False
        self.redirects = {}
        self.files = {}
        self.asked = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.host}/stac"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def searches(self):
        """Give the requests that were searches."""
        return [a for a in self.asked if a[1].startswith("/stac/search")]

    def next_fault(self):
        with self._lock:
            return self.faults.pop(0) if self.faults else self.fail_always

    # Documents

    def landing(self):
        links = [
            {"rel": "self", "href": self.url},
            {"rel": "data", "href": f"{self.url}/collections"},
            {"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json"},
        ]
        doc = {"id": "test", "description": "a test", "stac_version": "0.9.0", "links": links}
        if self.style != "0.9":
            core = "https://api.stacspec.org/v1.0.0"
            doc |= {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "conformsTo": [f"{core}/core", f"{core}/item-search", f"{core}/item-search#query"],
            }
            links[2]["method"] = "GET"
        if self.style == "1.0":
            links.append({**links[2], "method": "POST"})
        return doc

    def collections(self):
        return [
            {
                "id": name,
                "type": "Collection",
                "stac_version": "1.0.0",
                "description": name,
                "license": "proprietary",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {}},
                "links": [
                    {"rel": "items", "href": f"{self.url}/collections/{name}/items"},
                    {"rel": "root", "href": self.url},
                ],
            }
            for name in sorted({item["collection"] for item in self.items})
        ]

    def search(self, method, path, asked):
        """Give the page of a search; `asked` has parameters as a GET or POST gives them."""
        if isinstance(asked.get("collections"), str):
            asked = {**asked, "collections": asked["collections"].split(",")}
        if isinstance(asked.get("bbox"), str):
            asked = {**asked, "bbox": [float(v) for v in asked["bbox"].split(",")]}
        if isinstance(asked.get("query"), str):
            asked = {**asked, "query": json.loads(asked["query"])}
        if isinstance(asked.get("ids"), str):
            asked = {**asked, "ids": asked["ids"].split(",")}
        heeded = {k: v for k, v in asked.items() if k not in self.ignores}
        found = [item for item in self.items if _is_asked_for(item, heeded)]
        limit = min(int(asked.get("limit", 10)), self.most)
        if self.style == "0.9":
            first = (int(asked.get("page", 1)) - 1) * limit
        else:
            first = int(str(asked.get("token", "next:0")).partition(":")[2])
        page = [self.echoed(item) for item in found[first : first + limit]]
        doc = {"type": "FeatureCollection", "features": page, "links": []}
        if self.style == "0.9":
            context = {"limit": limit, "matched": len(found), "returned": len(page)}
            return doc | {
                "stac_version": "0.9.0",
                "context": context | {"page": first // limit + 1},
            }
        if first + limit < len(found):
            doc["links"].append(self.next_link(method, path, asked, f"next:{first + limit}"))
        return doc | {"numberMatched": len(found), "numberReturned": len(page)}

    def next_link(self, method, path, asked, token):
        echo = {"access_token": self.token} if self.echoes else {}
        href = f"{self.host}{path}"
        if method == "POST":
            headers = {"x-api-key": self.token} if self.echoes else {}
            return {
                "rel": "next",
                "href": f"{href}?{urlencode(echo)}" if echo else href,
                "method": "POST",
                "headers": headers,
                "body": {"token": token, **echo},
                "merge": True,
            }
        given = {k: v if isinstance(v, str) else json.dumps(v) for k, v in asked.items()}
        for name in ("bbox", "collections", "ids"):
            if name in given and not isinstance(asked[name], str):
                given[name] = ",".join(map(str, asked[name]))
        return {"rel": "next", "href": f"{href}?{urlencode({**given, 'token': token, **echo})}"}

    def echoed(self, item):
        if not self.echoes:
            return item
        item = json.loads(json.dumps(item))
        for number, asset in enumerate(item["assets"].values()):
            mark = "&" if "?" in asset["href"] else "?"
            forms = (
                f"access_token={quote(self.token, safe='')}",
                f"v=1&access_token={self.token}&w=2",
                f"key={quote(self.token)}#page",
            )
            asset["href"] += mark + forms[number % 3]
        item["links"].append({"rel": "self", "href": f"{self.url}/x?access_token={self.token}"})
        item["properties"]["note"] = f"fetched with {self.token}"
        return item

    def is_allowed(self, headers, query):
        if self.token is None:
            return True
        given = headers.get("x-api-key") if self.token_in == "header" else query.get("access_token")
        return given == self.token


def _is_asked_for(item, asked):
    """Tell if an item answers a search, as plainly as can be."""
    if asked.get("collections") and item["collection"] not in asked["collections"]:
        return False
    if asked.get("ids") and item["id"] not in asked["ids"]:
        return False
    day = item["properties"]["datetime"][:10]
    if asked.get("datetime"):
        start, _, end = asked["datetime"].partition("/")
        if not (start[:10] if start != ".." else "") <= day <= (end[:10] if end != ".." else "9"):
            return False
    if asked.get("bbox"):
        west, south, east, north = asked["bbox"]
        w, s, e, n = item["bbox"]
        if e < west or w > east or n < south or s > north:
            return False
    if asked.get("intersects"):
        shape = asked["intersects"]
        ring = (json.loads(shape) if isinstance(shape, str) else shape)["coordinates"][0]
        xs, ys = [p[0] for p in ring], [p[1] for p in ring]
        w, s, e, n = item["bbox"]
        if e < min(xs) or w > max(xs) or n < min(ys) or s > max(ys):
            return False
    for name, condition in (asked.get("query") or {}).items():
        held = item["properties"]
        value = held.get(name, held.get(f"{name}s"))
        values = value if isinstance(value, list) else [value]
        if "eq" in condition and condition["eq"] not in values:
            return False
        if "in" in condition and not set(values) & set(condition["in"]):
            return False
        if "lt" in condition and not all(v < condition["lt"] for v in values):
            return False
    return True


def _handler_of(stac):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer("GET", {})

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer("POST", json.loads(body))

        def answer(self, method, body):
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            stac.asked.append((method, self.path, dict(self.headers), body))
            if parts.path in stac.redirects:
                return self.send(302, b"", {"Location": stac.redirects[parts.path]})
            if not stac.is_allowed(self.headers, query):
                return self.send(401 if "x-api-key" not in self.headers else 403, b"{}")
            if parts.path.startswith("/files/"):
                return self.give_file(parts.path)
            if parts.path.rstrip("/") == "/stac":
                return self.send_json(stac.landing())
            if parts.path == "/stac/collections":
                return self.send_json({"collections": stac.collections(), "links": []})
            found = [c for c in stac.collections() if parts.path.endswith(f"collections/{c['id']}")]
            if found:
                return self.send_json(found[0])
            asked = {k: v for k, v in {**query, **body}.items() if k != "access_token"}
            if parts.path.endswith("/items"):
                asked["collections"] = parts.path.split("/")[-2]
            elif parts.path != "/stac/search":
                return self.send(404, b"{}")
            if set(asked) & set(stac.refuses):
                return self.send(400, b'{"description": "not so"}')
            if method == "POST" and stac.style == "1.0 GET":
                return self.send(405, b"{}")
            text = json.dumps(stac.search(method, parts.path, asked)).encode()
            return self.give(text)

        def give_file(self, path):
            if path not in stac.files:
                return self.send(404, b"<html>not here</html>")
            content = stac.files[path]
            return self.give(
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )

        def give(self, content):
            fault = stac.next_fault()
            if fault is None:
                self.send(200, content)
            elif fault in {"429", "500", "503"}:
                self.send(int(fault), b"<html>later</html>", {"Retry-After": stac.retry_after})
            elif fault == "silent":
                time.sleep(stac.silence)
                self.close_connection = True
            else:
                self.cut_off(fault, content)

        def cut_off(self, fault, content):
            """Break off: at once, in the midst of an answer, or so that it cannot be noticed."""
            if fault != "dropped":
                length = {} if fault == "cut JSON" else {"Content-Length": str(len(content))}
                self.send_head(200, {"Connection": "close", **length})
                self.wfile.write(content[: len(content) // 2])
            self.close_connection = True

        def send_json(self, doc):
            self.send(200, json.dumps(doc).encode())

        def send(self, status, content, headers=None):
            self.send_head(status, {"Content-Length": str(len(content)), **(headers or {})})
            self.wfile.write(content)

        def send_head(self, status, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler
