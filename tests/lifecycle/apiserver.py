"""An API server for one test: HTTPS on loopback, objects by path in memory, with certificates made
on the spot. It knows verbs, not kinds: get, list, watch, create, replace and patch of whatever is in
a collection that is served."""

import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import urllib.parse

TOKEN = "token-of-the-test"


def merge(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target, patch):
    """As RFC 7396, but lists of conditions are merged by their type."""
    conditions = {each["type"]: each for each in target.get("status", {}).get("conditions", [])}
    conditions |= {each["type"]: each for each in patch.get("status", {}).get("conditions", [])}
    result = merge(target, patch)
    if conditions:
        result["status"]["conditions"] = list(conditions.values())
    return result


class ApiServer:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.objects = {}
        self.collections = set()
        self.requests = []  # "PUT /path"
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.changes = []  # (type, path, object); resourceVersion n: after the first n of them
        self.denied = set()  # "POST /path": answered 403
        self.closed = False
        key, certificate = self.directory / "api.key", self.directory / "api.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=api",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.kubeconfig = self.directory / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "gpus"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": f"https://127.0.0.1:{self.server.server_address[1]}",
                "certificate-authority": str(certificate)}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}]}))

    def set(self, path, value):
        """Makes or replaces an object, as somebody else would."""
        with self.lock:
            self.store(path, value)

    def store(self, path, value):
        self.changes.append(("MODIFIED" if path in self.objects else "ADDED", path, value))
        self.objects[path] = value
        self.changed.notify_all()

    def children(self, collection):
        return [value for path, value in self.objects.items() if path.rpartition("/")[0] == collection]

    def watch(self, collection, version, write):
        """Writes an event a line until somebody closes."""
        while True:
            with self.lock:
                while version >= len(self.changes) and not self.closed:
                    self.changed.wait(0.1)
                news, version = self.changes[version:], len(self.changes)
                if self.closed:
                    return
            for number, (kind, path, value) in enumerate(news, version - len(news) + 1):
                if path.rpartition("/")[0] != collection:
                    continue
                value = merge(value, {"metadata": {"resourceVersion": str(number)}})
                write((json.dumps({"type": kind, "object": value}) + "\n").encode())

    def close(self):
        self.closed = True
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def count(self, beginning):
        with self.lock:
            return sum(request.startswith(beginning) for request in self.requests)

    def handle(self, verb, path, body, kind=""):
        """(status, object)"""
        with self.lock:
            self.requests.append(f"{verb} {path}")
            if f"{verb} {path}" in self.denied:
                return 403, {"kind": "Status", "code": 403, "message": "forbidden by the test"}
            if verb == "GET" and path in self.collections:
                return 200, {"metadata": {"resourceVersion": str(len(self.changes))},
                             "items": self.children(path)}
            if verb == "POST":
                if path not in self.collections:
                    return 404, {"kind": "Status", "code": 404}
                metadata = body["metadata"]
                if "generateName" in metadata:
                    metadata["name"] = f"{metadata['generateName']}{len(self.changes)}"
                self.store(f"{path}/{metadata['name']}", body)
                return 201, body
            path = path.removesuffix("/status")
            if path not in self.objects:
                return 404, {"kind": "Status", "code": 404}
            if verb == "PUT":
                self.store(path, body)
            elif verb == "PATCH":
                how = strategic if "strategic" in kind else merge
                self.store(path, how(self.objects[path], body))
            return 200, self.objects[path]

    def handler(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, value = 401, {"kind": "Status", "code": 401}
                else:
                    path, _, query = self.path.partition("?")
                    query = urllib.parse.parse_qs(query)
                    if "watch" in query:
                        return self.stream(path, int(query["resourceVersion"][0]))
                    status, value = outer.handle(self.command, path, body,
                                                 self.headers.get("Content-Type") or "")
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, path, version):
                with outer.lock:
                    outer.requests.append(f"WATCH {path}")
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

                def write(data):
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                    self.wfile.flush()

                try:
                    outer.watch(path, version, write)
                except OSError:
                    pass
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = answer

        return Handler
