"""An API server for one test: HTTPS on loopback, objects by path in memory, with certificates made
on the spot. It knows verbs, not kinds: get, create, replace and merge-patch of whatever is in a
collection that is served."""

import http.server
import json
import pathlib
import ssl
import subprocess
import threading

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


class ApiServer:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.objects = {}
        self.collections = set()
        self.requests = []  # "PUT /path"
        self.lock = threading.Lock()
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

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def count(self, beginning):
        with self.lock:
            return sum(request.startswith(beginning) for request in self.requests)

    def handle(self, verb, path, body):
        """(status, object)"""
        with self.lock:
            self.requests.append(f"{verb} {path}")
            if verb == "POST":
                if path not in self.collections:
                    return 404, {"kind": "Status", "code": 404}
                self.objects[f"{path}/{body['metadata']['name']}"] = body
                return 201, body
            if path not in self.objects:
                return 404, {"kind": "Status", "code": 404}
            if verb == "PUT":
                self.objects[path] = body
            elif verb == "PATCH":
                self.objects[path] = merge(self.objects[path], body)
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
                    status, value = outer.handle(self.command, self.path.split("?")[0], body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = answer

        return Handler
