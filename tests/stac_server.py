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
# How GET writes what POST has as JSON.
_AS_TEXT = {
    "collections": lambda text: text.split(","),
    "ids": lambda text: text.split(","),
    "bbox": lambda text: [float(v) for v in text.split(",")],
    "query": json.loads,
}


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
        self.token_place = "header"  # noqa: S105 (where it is, not what)
        self.echoes = False
        self.redirects = {}
        self.files = {}
        self.asked = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.stac = self
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

    def document(self, path):
        """Give a document that is no search; None is none."""
        found = {f"/stac/collections/{c['id']}": c for c in self.collections()}
        found["/stac"] = self.landing()
        found["/stac/collections"] = {"collections": self.collections(), "links": []}
        return found.get(path)

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
        asked = dict(asked)
        for name, read in _AS_TEXT.items():
            if isinstance(asked.get(name), str):
                asked[name] = read(asked[name])
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
        given = {"header": headers.get("x-api-key"), "query": query.get("access_token")}
        return given[self.token_place] == self.token


def _is_asked_for(item, asked):
    """Tell if an item answers a search, as plainly as can be."""
    return all(check(item, asked[name]) for name, check in _CHECKS.items() if asked.get(name))


def _in_days(item, interval):
    start, _, end = interval.replace("..", "").partition("/")
    return start[:10] <= item["properties"]["datetime"][:10] <= (end[:10] or "9")


def _overlaps(item, bbox):
    (west, south, east, north), (w, s, e, n) = bbox, item["bbox"]
    return e >= west and w <= east and n >= south and s <= north


def _overlaps_shape(item, shape):
    ring = (json.loads(shape) if isinstance(shape, str) else shape)["coordinates"][0]
    xs, ys = [p[0] for p in ring], [p[1] for p in ring]
    return _overlaps(item, (min(xs), min(ys), max(xs), max(ys)))


def _fits(item, query):
    for name, condition in query.items():
        value = item["properties"].get(name, item["properties"].get(f"{name}s"))
        values = set(value) if isinstance(value, list) else {value}
        wanted = {condition["eq"]} if "eq" in condition else set(condition.get("in", values))
        if not values & wanted:
            return False
        if "lt" in condition and max(values) >= condition["lt"]:
            return False
    return True


_CHECKS = {
    "collections": lambda item, wanted: item["collection"] in wanted,
    "ids": lambda item, wanted: item["id"] in wanted,
    "datetime": _in_days,
    "bbox": _overlaps,
    "intersects": _overlaps_shape,
    "query": _fits,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def stac(self):
        return self.server.stac

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
        self.stac.asked.append((method, self.path, dict(self.headers), body))
        if parts.path in self.stac.redirects:
            self.send(302, b"", {"Location": self.stac.redirects[parts.path]})
        elif not self.stac.is_allowed(self.headers, query):
            self.send(401 if "x-api-key" not in self.headers else 403, b"{}")
        elif parts.path in self.stac.files:
            content = self.stac.files[parts.path]
            self.give(content if isinstance(content, bytes) else json.dumps(content).encode())
        elif (document := self.stac.document(parts.path.rstrip("/"))) is not None:
            self.send(200, json.dumps(document).encode())
        elif parts.path == "/stac/search" or parts.path.endswith("/items"):
            self.search(method, parts.path, {**query, **body})
        else:
            self.send(404, b"<html>not here</html>")

    def search(self, method, path, asked):
        asked.pop("access_token", None)
        if path.endswith("/items"):
            asked["collections"] = path.split("/")[-2]
        if set(asked) & set(self.stac.refuses):
            self.send(400, b'{"description": "not so"}')
        elif method == "POST" and self.stac.style == "1.0 GET":
            self.send(405, b"{}")
        else:
            self.give(json.dumps(self.stac.search(method, path, asked)).encode())

    def give(self, content):
        fault = self.stac.next_fault()
        if fault is None:
            self.send(200, content)
        elif fault in {"429", "500", "503"}:
            self.send(int(fault), b"<html>later</html>", {"Retry-After": self.stac.retry_after})
        elif fault == "silent":
            time.sleep(self.stac.silence)
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

    def send(self, status, content, headers=None):
        self.send_head(status, {"Content-Length": str(len(content)), **(headers or {})})
        self.wfile.write(content)

    def send_head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
